"""Importance by random forests: of impurity, as W&B's panel has it, and by permutation on trials left out.

Impurity counts how much a parameter reduced the error on trials that the forest has seen: it favours parameters with
many values, and pure noise gets a share too. Permutation asks how much worse trials that the forest has not seen are
predicted once a parameter is shuffled: noise comes out near zero. Neither means anything where the forest predicts
poorly, which is what R^2 on trials left out is for. A search that samples good regions more often weighs them more.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import encode
from analysis.stats.resampling import SEED, Array, indices, spread_interval

TREES = 200  # of the forest of all trials
ROUND_TREES = 25  # of the forest of one bootstrap round
ROUNDS = 20
SHUFFLES = 3  # of each parameter and round
FEWEST = 10  # trials; with fewer there is nothing to leave out


@dataclass(frozen=True, slots=True)
class ForestResult:
    """``shares``: parameter, method, importance, low, high; ``columns``: column, parameter, importance, as W&B has it.

    ``r2`` with ``low`` and ``high``: how well trials left out are predicted, NaN with fewer than FEWEST trials.
    """

    shares: pd.DataFrame
    columns: pd.DataFrame
    r2: float
    low: float
    high: float


def grow(columns: Array, accuracy: Array, trees: int = TREES, seed: int = SEED) -> RandomForestRegressor:
    """A seeded forest of regression trees."""
    model = RandomForestRegressor(n_estimators=trees, oob_score=trees >= TREES, random_state=seed)
    return model.fit(columns, accuracy)


def forest_importance(sample: Sample) -> ForestResult:
    """Importance of each parameter by impurity (shares of one) and by permutation (R^2 lost on trials left out).

    The intervals are of ROUNDS forests, each grown on trials drawn with replacement and judged by those not drawn.
    """
    encoded, owners = encode(sample.trials, sample.parameters)
    columns, accuracy = encoded.to_numpy(), sample.trials[ACCURACY].to_numpy(dtype=float)
    if len(sample) < FEWEST or np.ptp(accuracy) == 0 or not owners:
        return _nothing(sample, encoded, owners)
    model = grow(columns, accuracy)
    owner = pd.Categorical(owners, categories=sample.parameters)
    rounds = [_round(columns, accuracy, owner, drawn, seed) for seed, drawn in enumerate(indices(len(sample), ROUNDS))]
    impurity, permutation, r2 = (np.array(draws) for draws in zip(*rounds, strict=True))
    grouped = _grouped(model.feature_importances_, owner)
    shares = [
        *_rows("impurity", sample.parameters, grouped, impurity),
        *_rows("permutation", sample.parameters, permutation.mean(axis=0), permutation),
    ]
    found = pd.DataFrame({"column": encoded.columns, "parameter": owners, "importance": model.feature_importances_})
    low, high = spread_interval(float(model.oob_score_), r2, most=1.0)
    return ForestResult(pd.DataFrame(shares), found, float(model.oob_score_), low, high)


def _round(
    columns: Array, accuracy: Array, owner: pd.Categorical, drawn: Array, seed: int
) -> tuple[Array, Array, float]:
    """Impurity and permutation importance and R^2 of a forest grown on the trials ``drawn``."""
    left_out = np.setdiff1d(np.arange(len(accuracy)), drawn)
    model = grow(columns[drawn], accuracy[drawn], ROUND_TREES, seed)
    truth = accuracy[left_out]
    scale = float(np.sum((truth - truth.mean()) ** 2))
    shuffled = _shuffled(columns[left_out], owner, np.random.default_rng(seed))
    predicted = model.predict(shuffled).reshape(-1, len(truth))
    errors = np.sum((predicted - truth) ** 2, axis=1)
    lost = (errors[1:] - errors[0]).reshape(len(owner.categories), SHUFFLES).mean(axis=1)
    if scale == 0:
        return _grouped(model.feature_importances_, owner), np.full(len(lost), np.nan), float("nan")
    return _grouped(model.feature_importances_, owner), lost / scale, float(r2_score(truth, predicted[0]))


def _shuffled(columns: Array, owner: pd.Categorical, rng: np.random.Generator) -> Array:
    """The trials as they are, then with each parameter shuffled SHUFFLES times, all of its columns together."""
    copies = [columns]
    for code in range(len(owner.categories)):
        of_parameter = np.flatnonzero(owner.codes == code)
        for _ in range(SHUFFLES):
            copy = columns.copy()
            copy[:, of_parameter] = columns[rng.permutation(len(columns))][:, of_parameter]
            copies.append(copy)
    return np.vstack(copies)


def _grouped(importances: Array, owner: pd.Categorical) -> Array:
    sums: Array = np.bincount(owner.codes, weights=importances, minlength=len(owner.categories)).astype(float)
    return sums


def _rows(method: str, parameters: list[str], values: Array, draws: Array) -> list[dict[str, object]]:
    least = 0.0 if method == "impurity" else -np.inf
    intervals = [spread_interval(float(value), draws[:, i], least, most=1.0) for i, value in enumerate(values)]
    return [
        {"parameter": name, "method": method, "importance": float(value), "low": low, "high": high}
        for name, value, (low, high) in zip(parameters, values, intervals, strict=True)
    ]


def _nothing(sample: Sample, encoded: pd.DataFrame, owners: list[str]) -> ForestResult:
    nan = float("nan")
    unknown = np.full(len(sample.parameters), nan)
    shares = [row for m in ("impurity", "permutation") for row in _rows(m, sample.parameters, unknown, unknown[None])]
    columns = pd.DataFrame({"column": encoded.columns, "parameter": owners, "importance": nan})
    return ForestResult(
        pd.DataFrame(shares, columns=["parameter", "method", "importance", "low", "high"]), columns, nan, nan, nan
    )
