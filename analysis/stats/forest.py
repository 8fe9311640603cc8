"""Importance by random forests: impurity importance, as in W&B's panel, and permutation importance on unseen trials.

Impurity importance measures how much a parameter reduces the error on the trials that the forest was fitted to. It
favours parameters with many values, and pure noise gets a share too. Permutation importance measures how much worse the
forest predicts unseen (out-of-bag) trials once a parameter is shuffled; for noise it is near 0. Neither means anything
if the forest predicts poorly, so read the out-of-bag R^2 first. A search that samples good regions more often gives
them more weight.

R^2 has no interval: where few settings fail badly, most samples miss them, and no interval tried held the R^2 on the
rest of the space in more than 83 % of cases. Spearman's correlation of out-of-bag predictions and results, which asks
how well the forest orders unseen trials, has one that holds more often: benchmarks/forest_coverage.py.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import RandomForestRegressor

from analysis.comparable import ACCURACY, Sample
from analysis.stats.correlation import fisher_interval, fisher_z, spearman_draws, spearman_error
from analysis.stats.encode import encode
from analysis.stats.resampling import CONFIDENCE, SEED, Array, bootstrap_indices, t_interval

TREES = 200  # in the forest fitted to all trials
ROUND_TREES = 25  # in the forest of one bootstrap round
ROUNDS = 20
SHUFFLES = 3  # per parameter and round
MIN_TRIALS = 10  # with fewer trials, too few are out-of-bag
# Out-of-bag predictions depend on each other, as their trees share trials, so their correlation with the results varies
# more than that of independent pairs: see Bates, Hastie and Tibshirani, "Cross-validation: what does it estimate and
# how well does it do it?", JASA 119 (2024), about the same in cross-validation. How the factor was found:
# benchmarks/reports/2026-11-30-intervals.md.
ORDER_INFLATION = 1.3
ORDER_ROUNDS = 300


@dataclass(frozen=True, slots=True)
class ForestResult:
    """The importance of parameters and columns, and how well the forest predicts unseen trials.

    - ``shares``: columns parameter, method ("impurity" or "permutation"), importance, low, high.
    - ``columns``: impurity importance of each encoded column, as in W&B: columns column, parameter, importance.
    - ``r2``: out-of-bag R^2; NaN with fewer than MIN_TRIALS trials, as are the next ones.
    - ``order``, ``low``, ``high``: Spearman's correlation of out-of-bag predictions and results, and its 95 % interval.
    """

    shares: pd.DataFrame
    columns: pd.DataFrame
    r2: float
    order: float
    low: float
    high: float


def fit_forest(columns: Array, accuracy: Array, trees: int = TREES, seed: int = SEED) -> RandomForestRegressor:
    """Fit a seeded random forest of regression trees to the encoded ``columns``."""
    model = RandomForestRegressor(n_estimators=trees, oob_score=trees >= TREES, random_state=seed)
    return model.fit(columns, accuracy)


def forest_importance(sample: Sample) -> ForestResult:
    """Importance of each parameter by impurity (shares that sum to 1) and by permutation (loss of out-of-bag R^2).

    The intervals come from ROUNDS forests, each fitted to a bootstrap sample and evaluated on the trials not drawn.

    >>> from analysis.comparable import sample_at
    >>> forest = forest_importance(sample_at(study))
    >>> forest.r2 > 0.25, set(forest.shares["method"]) == {"impurity", "permutation"}
    (True, True)
    """
    encoded, owners = encode(sample.trials, sample.parameters)
    columns, accuracy = encoded.to_numpy(), sample.trials[ACCURACY].to_numpy(dtype=float)
    if len(sample) < MIN_TRIALS or np.ptp(accuracy) == 0 or not owners:
        return _unknown_result(sample, encoded, owners)
    model = fit_forest(columns, accuracy)
    owner = pd.Categorical(owners, categories=sample.parameters)
    rounds = [
        _round(columns, accuracy, owner, drawn, seed)
        for seed, drawn in enumerate(bootstrap_indices(len(sample), ROUNDS))
    ]
    impurity, permutation = (np.array(draws) for draws in zip(*rounds, strict=True))
    by_parameter = _sum_by_parameter(model.feature_importances_, owner)
    shares = [
        *_rows("impurity", sample.parameters, by_parameter, impurity),
        *_rows("permutation", sample.parameters, permutation.mean(axis=0), permutation),
    ]
    by_column = pd.DataFrame({"column": encoded.columns, "parameter": owners, "importance": model.feature_importances_})
    order, low, high = order_of(accuracy, model.oob_prediction_)
    return ForestResult(pd.DataFrame(shares), by_column, float(model.oob_score_), order, low, high)


def order_of(accuracy: Array, predicted: Array) -> tuple[float, float, float]:
    """Spearman's correlation of out-of-bag predictions and results, with its 95 % interval.

    Fisher's z with ORDER_INFLATION times the standard error of a bootstrap of the trials, or of Bonett and Wright if
    that is larger.
    """
    order, n = float(stats.spearmanr(accuracy, predicted).statistic), len(accuracy)
    draws = fisher_z(spearman_draws(accuracy, predicted, ORDER_ROUNDS))
    error = max(float(np.nanstd(draws, ddof=1)), spearman_error(order, n))
    reach = ORDER_INFLATION * float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    return order, *fisher_interval(order, reach)


def _round(columns: Array, accuracy: Array, owner: pd.Categorical, drawn: Array, seed: int) -> tuple[Array, Array]:
    """Impurity importance and permutation importance of a forest fitted to the trials ``drawn``."""
    unseen = np.setdiff1d(np.arange(len(accuracy)), drawn)
    model = fit_forest(columns[drawn], accuracy[drawn], ROUND_TREES, seed)
    truth = accuracy[unseen]
    variation = float(np.sum((truth - truth.mean()) ** 2))
    shuffled = _shuffled(columns[unseen], owner, np.random.default_rng(seed))
    predicted = model.predict(shuffled).reshape(-1, len(truth))
    errors = np.sum((predicted - truth) ** 2, axis=1)
    increase = (errors[1:] - errors[0]).reshape(len(owner.categories), SHUFFLES).mean(axis=1)
    impurity = _sum_by_parameter(model.feature_importances_, owner)
    if variation == 0:
        return impurity, np.full(len(increase), np.nan)
    return impurity, increase / variation


def _shuffled(columns: Array, owner: pd.Categorical, rng: np.random.Generator) -> Array:
    """Stack the trials and copies of them; in each copy one parameter, with all its columns, is shuffled."""
    copies = [columns]
    for code in range(len(owner.categories)):
        of_parameter = np.flatnonzero(owner.codes == code)
        for _ in range(SHUFFLES):
            copy = columns.copy()
            copy[:, of_parameter] = columns[rng.permutation(len(columns))][:, of_parameter]
            copies.append(copy)
    return np.vstack(copies)


def _sum_by_parameter(importances: Array, owner: pd.Categorical) -> Array:
    sums: Array = np.bincount(owner.codes, weights=importances, minlength=len(owner.categories)).astype(float)
    return sums


def _rows(method: str, parameters: list[str], values: Array, draws: Array) -> list[dict[str, object]]:
    lowest = 0.0 if method == "impurity" else -np.inf
    intervals = [t_interval(float(value), draws[:, i], lowest, highest=1.0) for i, value in enumerate(values)]
    return [
        {"parameter": name, "method": method, "importance": float(value), "low": low, "high": high}
        for name, value, (low, high) in zip(parameters, values, intervals, strict=True)
    ]


def _unknown_result(sample: Sample, encoded: pd.DataFrame, owners: list[str]) -> ForestResult:
    nan = float("nan")
    unknown = np.full(len(sample.parameters), nan)
    shares = [row for m in ("impurity", "permutation") for row in _rows(m, sample.parameters, unknown, unknown[None])]
    columns = pd.DataFrame({"column": encoded.columns, "parameter": owners, "importance": nan})
    return ForestResult(
        pd.DataFrame(shares, columns=["parameter", "method", "importance", "low", "high"]), columns, nan, nan, nan, nan
    )
