"""Partial dependence: what a forest predicts, on average over the trials, if all of them had one value.

It holds the other hyperparameters as the trials had them, so values that were only tried with some of them are
predicted by extrapolation; and a forest that predicts poorly (analysis/stats/forest.py) has nothing to say here.
"""

import numpy as np
import pandas as pd

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import MAX_LEVELS, MISSING, encode, is_logarithmic, is_number, label_of
from analysis.stats.forest import FEWEST, ROUND_TREES, grow
from analysis.stats.resampling import Array, indices, spread_interval

TOP = 4  # parameters that are looked at more closely
ROUNDS = 15
GRID = 9  # points of a number with many values
COLUMNS = ["parameter", "value", "predicted", "low", "high", "trials", "epochs"]


def partial_dependence(sample: Sample, parameters: list[str]) -> pd.DataFrame:
    """A row for each value of ``parameters``: predicted mean accuracy with an interval from ROUNDS more forests."""
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    if len(sample) < FEWEST or not parameters:
        return pd.DataFrame(columns=COLUMNS)
    encoded, owners = encode(sample.trials, sample.parameters)
    points = [point for name in parameters for point in _points(sample.trials[name], name)]
    columns = encoded.to_numpy()
    copies = [_with(columns, list(encoded.columns), owners, name, values) for name, _, values in points]
    stacked = np.vstack(copies)
    predicted = grow(columns, accuracy).predict(stacked).reshape(len(points), -1).mean(axis=1)
    draws = [
        grow(columns[drawn], accuracy[drawn], ROUND_TREES, seed).predict(stacked).reshape(len(points), -1).mean(axis=1)
        for seed, drawn in enumerate(indices(len(sample), ROUNDS))
    ]
    rows = [
        (name, label, float(value), *spread_interval(float(value), np.array(draws)[:, i]), len(sample), sample.epochs)
        for i, ((name, label, _), value) in enumerate(zip(points, predicted, strict=True))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _points(column: pd.Series, name: str) -> list[tuple[str, str, dict[str, float]]]:
    """Parameter, label and encoded columns of each value to predict at."""
    if not is_number(column):
        one_hot = encode(column.to_frame(), [name])[0].columns
        return [(name, chosen.partition("=")[2], {c: float(c == chosen) for c in one_hot}) for chosen in one_hot]
    numbers = pd.to_numeric(column.dropna()).astype(float)
    grid = np.unique(numbers)
    if len(grid) > MAX_LEVELS:
        grid = np.unique(np.quantile(numbers, np.linspace(0, 1, GRID)))
    scaled = np.log10(grid) if is_logarithmic(numbers) else grid
    missing = {f"{name}={MISSING}": 0.0} if column.isna().any() else {}
    return [(name, label_of(v), {name: float(s)} | missing) for v, s in zip(grid, scaled, strict=True)]


def _with(columns: Array, names: list[str], owners: list[str], parameter: str, values: dict[str, float]) -> Array:
    copy = columns.copy()
    for i, (name, owner) in enumerate(zip(names, owners, strict=True)):
        if owner == parameter:
            copy[:, i] = values[name]
    return copy
