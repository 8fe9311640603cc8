"""Which hyperparameters mattered, by four methods that mean different things, and how reliable the ranking is."""

import pandas as pd

from analysis.comparable import Sample
from analysis.nothing_to_compare import NothingToCompareError
from analysis.stats.correlation import correlations
from analysis.stats.forest import MIN_TRIALS, ForestResult, forest_importance
from analysis.stats.optuna_importance import optuna_importance
from analysis.stats.partial_dependence import TOP
from analysis.wording import counted

# Out-of-bag R^2 from which a ranking is worth reading. How often permutation ranked the right parameter first, in 320
# samples of 20 to 160 of 648 networks with a known ranking and added noise (benchmarks/analysis_truth.py):
# R^2 below 0: 38 %; 0 to 0.25: 63 %; 0.25 to 0.6: 90 %; above 0.6: 97 %.
MIN_R2 = 0.25
METHODS = ("impurity", "permutation", "fanova", "ped-anova")


def importance(sample: Sample, forest: ForestResult | None = None) -> pd.DataFrame:
    """One row per parameter and method: importance, low, high, trials, epochs; ordered by permutation importance.

    "impurity", "fanova" and "ped-anova" are shares that sum to 1, so noise gets a share too. "permutation" is the loss
    of out-of-bag R^2 and near 0 for noise. Do not read the ranking unless ``ranking_is_reliable``.

    >>> from analysis.comparable import sample_at
    >>> importance(sample_at(study))[["parameter", "method", "trials", "epochs"]].values[0].tolist()
    ['learning_rate', 'impurity', 60, 3]
    """
    table = pd.concat([(forest or forest_importance(sample)).shares, optuna_importance(sample)], ignore_index=True)
    permutation = table[table["method"].eq("permutation")].set_index("parameter")["importance"]
    rank = {name: place for place, name in enumerate(permutation.sort_values(ascending=False, kind="stable").index)}
    ranked = table.sort_values("parameter", key=lambda names: names.map(rank), kind="stable", ignore_index=True)
    return ranked.assign(trials=len(sample), epochs=sample.epochs)


def top_parameters(table: pd.DataFrame, n: int = TOP) -> list[str]:
    """The ``n`` most important parameters by permutation in a table of ``importance``; none if it is unknown.

    >>> from analysis.comparable import sample_at
    >>> top_parameters(importance(sample_at(study)), n=1)
    ['learning_rate']
    """
    permutation = table[table["method"].eq("permutation")].dropna(subset="importance")
    return list(permutation.sort_values("importance", ascending=False, kind="stable")["parameter"].head(n))


def ranking_is_reliable(forest: ForestResult) -> bool:
    """Whether the forest predicts unseen trials well enough (MIN_R2), and surely orders them better than chance does.

    >>> from analysis.comparable import sample_at
    >>> ranking_is_reliable(forest_importance(sample_at(study)))
    True
    """
    return forest.r2 >= MIN_R2 and not forest.low <= 0


def describe_r2(forest: ForestResult) -> str:
    """The out-of-bag R^2 of the forest, and how well it orders unseen trials, with an interval, in words."""
    order = f"rank correlation of predictions and results {forest.order:.2f}"
    return f"out-of-bag R² {forest.r2:.2f}; {order}, 95 % interval {forest.low:.2f} to {forest.high:.2f}"


def describe_ranking(forest: ForestResult, trials: int) -> str:
    """One sentence on whether the ranking of the hyperparameters can be relied on.

    >>> from analysis.comparable import sample_at
    >>> sample = sample_at(study)
    >>> describe_ranking(forest_importance(sample), len(sample))[:51]
    'The ranking of the hyperparameters is reliable (out'
    """
    if forest.r2 != forest.r2:
        needed = f"a random forest needs {MIN_TRIALS} with different results"
        return f"The ranking of the hyperparameters is unknown ({counted(trials, 'trial')}; {needed})."
    r2 = describe_r2(forest)
    if forest.r2 < MIN_R2:
        return f"The trials cannot rank the hyperparameters ({r2}; at least {MIN_R2} is needed)."
    if forest.low <= 0:
        return f"The ranking of the hyperparameters is uncertain ({r2}, so the forest may order trials by chance)."
    return f"The ranking of the hyperparameters is reliable ({r2})."


def nothing_varies(sample: Sample) -> NothingToCompareError:
    """That no hyperparameter can be compared, as an error whose text is a sentence without its end."""
    if len(sample) == 1:
        return NothingToCompareError("only one trial can be compared")
    return NothingToCompareError(f"no hyperparameter varies among the {len(sample)} trials that can be compared")


def wandb_panel(sample: Sample, forest: ForestResult | None = None) -> pd.DataFrame:
    """W&B's panel with intervals: impurity importance, Pearson and Spearman correlation of each encoded column.

    ``parameter_importance`` is the sum over all columns of a parameter; one-hot columns split it among themselves.

    >>> from analysis.comparable import sample_at
    >>> wandb_panel(sample_at(study)).loc[0, ["column", "parameter"]].tolist()
    ['learning_rate', 'learning_rate']
    """
    columns = (forest or forest_importance(sample)).columns
    by_parameter = columns.groupby("parameter")["importance"].transform("sum", min_count=1)
    table = columns.assign(parameter_importance=by_parameter)
    merged = table.merge(correlations(sample), on=["column", "parameter"], how="left")
    return merged.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
