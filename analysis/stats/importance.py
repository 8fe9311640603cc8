"""Which hyperparameters mattered, by four methods that mean different things, and whether the data can say at all."""

import pandas as pd

from analysis.comparable import Sample
from analysis.stats.correlation import correlations
from analysis.stats.forest import FEWEST, ForestResult, forest_importance
from analysis.stats.optuna_importance import optuna_importance
from analysis.stats.partial_dependence import TOP

# R^2 on trials left out that makes a ranking worth reading. In 320 samples of 20 to 160 of the 648 networks whose
# ranking is known, with noise added, permutation ranked the right parameter first in 38 % where R^2 was below 0, in
# 63 % from there to 0.25, in 90 % from there to 0.6, and in 97 % above (benchmarks/analysis_truth.py).
ENOUGH_R2 = 0.25
CANNOT_SAY = "the data cannot say"
METHODS = ("impurity", "permutation", "fanova", "ped-anova")


def importance(sample: Sample, forest: ForestResult | None = None) -> pd.DataFrame:
    """A row for each parameter and method: importance, low, high, trials, epochs; parameters by permutation.

    "impurity", "fanova" and "ped-anova" are shares of one, so that noise gets a share too; "permutation" is the R^2
    lost, about 0 for noise. Read none of them where ``verdict`` has something to say.
    """
    found = pd.concat([(forest or forest_importance(sample)).shares, optuna_importance(sample)], ignore_index=True)
    permutation = found[found["method"].eq("permutation")].set_index("parameter")["importance"]
    order = {name: place for place, name in enumerate(permutation.sort_values(ascending=False, kind="stable").index)}
    ranked = found.sort_values("parameter", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return ranked.assign(trials=len(sample), epochs=sample.epochs)


def top_parameters(table: pd.DataFrame, n: int = TOP) -> list[str]:
    """The ``n`` parameters of a table of ``importance`` that matter most by permutation; none where it is not known."""
    permutation = table[table["method"].eq("permutation")].dropna(subset="importance")
    return list(permutation.sort_values("importance", ascending=False, kind="stable")["parameter"].head(n))


def verdict(forest: ForestResult, trials: int) -> str:
    """How well a forest predicts trials that it has not seen, and CANNOT_SAY where that is not enough."""
    if forest.r2 != forest.r2:
        return f"{CANNOT_SAY}: {trials} trials, or all alike; a forest needs {FEWEST} that differ"
    low = f"{forest.low:.2f}" if forest.low > -1 else "below -1"
    fit = f"R² on trials left out {forest.r2:.2f} ({low} to {forest.high:.2f})"
    if forest.r2 < ENOUGH_R2:
        return f"{CANNOT_SAY}: {fit}, below {ENOUGH_R2}"
    return f"{CANNOT_SAY} surely: {fit}, perhaps none at all" if forest.low < 0 else fit


def panel(sample: Sample, forest: ForestResult | None = None) -> pd.DataFrame:
    """W&B's panel and what it leaves out: for each encoded column impurity importance, Pearson, Spearman, intervals.

    ``parameter_importance`` is the sum over the columns of a parameter, which one-hot columns split among them.
    """
    columns = (forest or forest_importance(sample)).columns
    grouped = columns.groupby("parameter")["importance"].transform("sum", min_count=1)
    table = columns.assign(parameter_importance=grouped)
    merged = table.merge(correlations(sample), on=["column", "parameter"], how="left")
    return merged.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
