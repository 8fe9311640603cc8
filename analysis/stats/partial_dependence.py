"""Partial dependence: what a random forest predicts, averaged over the trials, if all trials had one value.

The other hyperparameters keep the values of the trials, so combinations that were never tried are extrapolated. A
forest that predicts poorly (``analysis.stats.forest``) gives a meaningless partial dependence.
"""

import numpy as np
import pandas as pd

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import MAX_LEVELS, MISSING, encode, is_logarithmic, is_number, label_of
from analysis.stats.forest import MIN_TRIALS, ROUND_TREES, fit_forest
from analysis.stats.resampling import Array, bootstrap_indices, t_interval

TOP = 4  # number of the most important parameters to show
ROUNDS = 15
GRID = 9  # points for a number with many values
COLUMNS = ["parameter", "value", "predicted", "low", "high", "trials", "epochs"]


def partial_dependence(sample: Sample, parameters: list[str]) -> pd.DataFrame:
    """One row per value of ``parameters``: predicted mean accuracy, with an interval from ROUNDS bootstrap forests.

    >>> from analysis.comparable import sample_at
    >>> table = partial_dependence(sample_at(study), ["batch_norm"])
    >>> table["value"].tolist(), bool(table["predicted"].is_monotonic_increasing)
    (['False', 'True'], True)
    """
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    if len(sample) < MIN_TRIALS or not parameters:
        return pd.DataFrame(columns=COLUMNS)
    encoded, owners = encode(sample.trials, sample.parameters)
    points = [point for name in parameters for point in _points(sample.trials[name], name)]
    columns = encoded.to_numpy()
    copies = [_with_value(columns, list(encoded.columns), owners, name, values) for name, _, values in points]
    stacked = np.vstack(copies)
    predicted = fit_forest(columns, accuracy).predict(stacked).reshape(len(points), -1).mean(axis=1)
    draws = [
        fit_forest(columns[drawn], accuracy[drawn], ROUND_TREES, seed)
        .predict(stacked)
        .reshape(len(points), -1)
        .mean(axis=1)
        for seed, drawn in enumerate(bootstrap_indices(len(sample), ROUNDS))
    ]
    rows = [
        (name, label, float(value), *t_interval(float(value), np.array(draws)[:, i]), len(sample), sample.epochs)
        for i, ((name, label, _), value) in enumerate(zip(points, predicted, strict=True))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _points(column: pd.Series, name: str) -> list[tuple[str, str, dict[str, float]]]:
    """Parameter, label and encoded columns of each value at which to predict."""
    if not is_number(column):
        one_hot = encode(column.to_frame(), [name])[0].columns
        return [(name, active.partition("=")[2], {c: float(c == active) for c in one_hot}) for active in one_hot]
    numbers = pd.to_numeric(column.dropna()).astype(float)
    grid = np.unique(numbers)
    if len(grid) > MAX_LEVELS:
        grid = np.unique(np.quantile(numbers, np.linspace(0, 1, GRID)))
    scaled = np.log10(grid) if is_logarithmic(numbers) else grid
    missing = {f"{name}={MISSING}": 0.0} if column.isna().any() else {}
    return [(name, label_of(v), {name: float(s)} | missing) for v, s in zip(grid, scaled, strict=True)]


def _with_value(columns: Array, names: list[str], owners: list[str], parameter: str, values: dict[str, float]) -> Array:
    """Copy the encoded columns and set those of ``parameter`` to ``values``."""
    copy = columns.copy()
    for i, (name, owner) in enumerate(zip(names, owners, strict=True)):
        if owner == parameter:
            copy[:, i] = values[name]
    return copy
