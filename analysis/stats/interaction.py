"""Pairs of hyperparameters that do more, or less, together than apart.

Tested by how much a linear model gains from a term for each pair of values. It sees only pairs of values that the
search tried, and a Bayesian search leaves out pairs that it took for bad.
"""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparable import ACCURACY, Sample, best_of
from analysis.stats.encode import level_labels
from analysis.stats.regression import LEAST_FREEDOM, dummies, others
from analysis.stats.resampling import Array, holm, interval, mean_draws

CELL_COLUMNS = ["trials", "mean", "low", "high", "best", "epochs"]
PAIR_COLUMNS = ["first", "second", "r2_gain", "p", "p_holm", "trials", "epochs"]


def interactions(sample: Sample) -> pd.DataFrame:
    """A row for each pair of parameters, strongest first: ``r2_gain`` of its interaction, F test's p, and Holm's.

    NaN where too few trials are left to estimate the interaction.
    """
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    additive = others(sample, [])
    rows = []
    for first, second in itertools.combinations(sample.parameters, 2):
        one, two = (dummies(level_labels(sample.trials[name])) for name in (first, second))
        products = (one[:, :, None] * two[:, None, :]).reshape(len(sample), -1)
        gain, p = _gain(additive, products, accuracy)
        rows.append({"first": first, "second": second, "r2_gain": gain, "p": p})
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS[:4])
    table = table.assign(p_holm=holm(table["p"]), trials=len(sample), epochs=sample.epochs)
    return table.sort_values(["p", "r2_gain"], ascending=[True, False], kind="stable", ignore_index=True)


def _gain(additive: Array, products: Array, accuracy: Array) -> tuple[float, float]:
    (small, small_rank), (large, large_rank) = (
        _residual(design, accuracy) for design in (additive, np.hstack([additive, products]))
    )
    added, freedom = large_rank - small_rank, len(accuracy) - large_rank
    total = float(np.sum((accuracy - accuracy.mean()) ** 2))
    if added <= 0 or freedom < LEAST_FREEDOM or total == 0:
        return float("nan"), float("nan")
    if large <= 1e-12 * total:  # fits perfectly, so does the additive model or the interaction is all there is
        return (small - large) / total, float(small <= 1e-12 * total)
    f = ((small - large) / added) / (large / freedom)
    return (small - large) / total, float(stats.f.sf(f, added, freedom))


def _residual(design: Array, accuracy: Array) -> tuple[float, int]:
    coefficients, _, rank, _ = np.linalg.lstsq(design, accuracy, rcond=None)
    return float(np.sum((accuracy - design @ coefficients) ** 2)), int(rank)


def pair_table(sample: Sample, first: str, second: str) -> pd.DataFrame:
    """A row for each pair of values that was tried: trials, mean with bootstrap interval, best."""
    labels = pd.DataFrame({name: level_labels(sample.trials[name]) for name in (first, second)})
    rows = []
    for (one, two), accuracy in sample.trials[ACCURACY].groupby([labels[first], labels[second]], observed=True):
        own = accuracy.to_numpy(dtype=float)
        low, high = interval(mean_draws(own), len(own))
        rows.append((one, two, len(own), own.mean(), low, high, best_of(own, sample), sample.epochs))
    return pd.DataFrame(rows, columns=[first, second, *CELL_COLUMNS])


def top_pair(sample: Sample, pairs: pd.DataFrame) -> pd.DataFrame:
    """``pair_table`` of the first of ``interactions`` that could be tested; empty if none could."""
    tested = pairs.dropna(subset="p")
    if not len(tested):
        return pd.DataFrame(columns=CELL_COLUMNS)
    return pair_table(sample, tested["first"].iloc[0], tested["second"].iloc[0])
