"""What slices and contours show: samples at several budgets, means of cells, and smoothed surfaces."""

import numpy as np
import pandas as pd

from analysis.budgets import longest_trial, rungs
from analysis.comparable import ACCURACY, Sample, sample_at
from analysis.stats.encode import level_labels
from analysis.stats.resampling import Array
from analysis.study import StudyData

MIN_TRIALS = 8  # fewer dots show no pattern
MAX_BUDGETS = 4
GRID = 25  # points of a surface along each axis
NEAR = 1.0  # weight of the trials nearby from which a surface has a value; a trial at the point itself weighs 1


def samples_at_budgets(study: StudyData, sample: Sample) -> list[Sample]:
    """``sample`` and those at the rungs of the study that have MIN_TRIALS trials, by budget; at most MAX_BUDGETS.

    Each holds the trials that trained for its budget: those that were stopped before are not in it.

    >>> from analysis.comparable import sample_at
    >>> [(one.epochs, len(one)) for one in samples_at_budgets(study, sample_at(study))]
    [(3, 60), (9, 30)]
    """
    if sample.epochs is None:
        return [sample]
    others = sorted({epochs for epochs in rungs(study) if 0 < epochs <= longest_trial(study)} - {sample.epochs})
    found = [sample_at(study, epochs) for epochs in others]
    usable = [one for one in found if len(one) >= MIN_TRIALS]
    if len(usable) >= MAX_BUDGETS:  # the last ones have the long trainings, which say most
        usable = usable[1 - MAX_BUDGETS :]
    return sorted([sample, *usable], key=lambda one: one.epochs or 0)


def cell_means(sample: Sample, first: str, second: str) -> pd.DataFrame:
    """One row per pair of values that was tried: their number of ``trials`` and the ``mean`` of their results.

    Numbers with many values are cut into ranges. ``pair_table`` of ``analysis.stats.interaction`` has intervals, too.

    >>> from analysis.comparable import sample_at
    >>> cell_means(sample_at(study), "batch_norm", "learning_rate").round(3).values[0].tolist()
    ['False', '0.0001', 7, 0.219]
    """
    labels = [level_labels(sample.trials[name]).rename(name) for name in (first, second)]
    groups = sample.trials[ACCURACY].groupby(labels, observed=True)
    return groups.agg(trials="size", mean="mean").reset_index().astype({first: str, second: str})


def smooth_surface(x: Array, y: Array, values: Array) -> tuple[Array, Array, Array]:
    """Weighted means of ``values`` (N,) around GRID x GRID points; NaN where no trial is near.

    The estimator of Nadaraya and Watson with a Gaussian kernel, on axes scaled to 0 to 1. Its width, 0.3 N^(-1/6),
    falls with the number of trials as in Scott's rule. Returns the points of both axes and the means (GRID, GRID), one
    row per point of y.
    """
    width = 0.3 * len(values) ** (-1 / 6)
    columns, rows = (np.linspace(axis.min(), axis.max(), GRID) for axis in (x, y))
    weights = _kernel(rows, y, width)[:, None, :] * _kernel(columns, x, width)[None, :, :]
    total = weights.sum(axis=2)
    means = np.divide(weights @ values, total, out=np.full_like(total, np.nan), where=total >= NEAR)
    return columns, rows, means


def _kernel(points: Array, places: Array, width: float) -> Array:
    """Weight of each of the ``places`` (N,) at each point (GRID,), along one axis."""
    span = float(np.ptp(places)) or 1.0
    weights: Array = np.exp(-0.5 * ((points[:, None] - places[None, :]) / (width * span)) ** 2)
    return weights
