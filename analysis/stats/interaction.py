"""Interactions: pairs of hyperparameters whose joint effect differs from the sum of their effects.

The test asks how much a linear model gains from one term per pair of values. It covers only pairs of values that the
search tried; a Bayesian search avoids pairs that it considers bad.
"""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparable import ACCURACY, Sample, best_value
from analysis.stats.encode import level_labels
from analysis.stats.regression import MIN_RESIDUAL_DF, design_without, dummy_columns
from analysis.stats.resampling import Array, bootstrap_means, holm, percentile_interval

CELL_COLUMNS = ["trials", "mean", "low", "high", "best", "epochs"]
PAIR_COLUMNS = ["first", "second", "r2_gain", "p", "p_holm", "trials", "epochs"]


def interactions(sample: Sample) -> pd.DataFrame:
    """One row per pair of parameters, strongest first: ``r2_gain`` of its interaction, p of the F test, and p_holm.

    NaN if too few trials are left to estimate the interaction.

    >>> from analysis.comparable import sample_at
    >>> interactions(sample_at(study)).loc[0, ["first", "second"]].tolist()
    ['batch_norm', 'learning_rate']
    """
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    additive = design_without(sample, [])
    rows = []
    for first, second in itertools.combinations(sample.parameters, 2):
        one, two = (dummy_columns(level_labels(sample.trials[name])) for name in (first, second))
        products = (one[:, :, None] * two[:, None, :]).reshape(len(sample), -1)
        gain, p = _gain(additive, products, accuracy)
        rows.append({"first": first, "second": second, "r2_gain": gain, "p": p})
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS[:4])
    table = table.assign(p_holm=holm(table["p"]), trials=len(sample), epochs=sample.epochs)
    return table.sort_values(["p", "r2_gain"], ascending=[True, False], kind="stable", ignore_index=True)


def _gain(additive: Array, products: Array, accuracy: Array) -> tuple[float, float]:
    """The gain in R^2 from adding the columns ``products`` to the ``additive`` design, and its p value."""
    (small, small_rank), (large, large_rank) = (
        _residual(design, accuracy) for design in (additive, np.hstack([additive, products]))
    )
    added, degrees_of_freedom = large_rank - small_rank, len(accuracy) - large_rank
    total = float(np.sum((accuracy - accuracy.mean()) ** 2))
    if added <= 0 or degrees_of_freedom < MIN_RESIDUAL_DF or total == 0:
        return float("nan"), float("nan")
    if large <= 1e-12 * total:  # a perfect fit: p is 1 if the additive model fits perfectly too, otherwise 0
        return (small - large) / total, float(small <= 1e-12 * total)
    f = ((small - large) / added) / (large / degrees_of_freedom)
    return (small - large) / total, float(stats.f.sf(f, added, degrees_of_freedom))


def _residual(design: Array, accuracy: Array) -> tuple[float, int]:
    """Residual sum of squares and rank of a least-squares fit."""
    coefficients, _, rank, _ = np.linalg.lstsq(design, accuracy, rcond=None)
    return float(np.sum((accuracy - design @ coefficients) ** 2)), int(rank)


def pair_table(sample: Sample, first: str, second: str) -> pd.DataFrame:
    """One row per pair of values that was tried: trials, mean with bootstrap 95 % interval, best.

    >>> from analysis.comparable import sample_at
    >>> pair_table(sample_at(study), "batch_norm", "learning_rate").round(3).values[0, :4].tolist()
    ['False', '0.0001', 7, 0.219]
    """
    labels = pd.DataFrame({name: level_labels(sample.trials[name]) for name in (first, second)})
    rows = []
    for (one, two), accuracy in sample.trials[ACCURACY].groupby([labels[first], labels[second]], observed=True):
        values = accuracy.to_numpy(dtype=float)
        low, high = percentile_interval(bootstrap_means(values), len(values))
        rows.append((one, two, len(values), values.mean(), low, high, best_value(values, sample), sample.epochs))
    return pd.DataFrame(rows, columns=[first, second, *CELL_COLUMNS])


def top_pair(sample: Sample, pairs: pd.DataFrame) -> pd.DataFrame:
    """``pair_table`` of the strongest pair in a table of ``interactions``; empty if no pair could be tested.

    >>> from analysis.comparable import sample_at
    >>> sample = sample_at(study)
    >>> list(top_pair(sample, interactions(sample)))[:4]
    ['batch_norm', 'learning_rate', 'trials', 'mean']
    """
    tested = pairs.dropna(subset="p")
    if not len(tested):
        return pd.DataFrame(columns=CELL_COLUMNS)
    return pair_table(sample, tested["first"].iloc[0], tested["second"].iloc[0])
