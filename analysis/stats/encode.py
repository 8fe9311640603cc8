"""Encode hyperparameters: as numeric columns for forests and correlations, as a few levels for tables."""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

NONE_LABELS = ("None", "nan", "(none)")
LOG_SCALE_RATIO = 100.0  # positive numbers whose highest and lowest value have this ratio get a log scale
MISSING = "(none)"  # level of a parameter that a trial does not have, such as k_layers without freeze_partial
MAX_LEVELS = 8  # numbers with more distinct values are grouped into BINS ranges with equally many trials
BINS = 4


def varying_parameters(trials: pd.DataFrame, parameters: Sequence[str]) -> list[str]:
    """The parameters with more than one value; a missing value counts as a value.

    >>> varying_parameters(study.trials.assign(seed=1), ["batch_norm", "seed"])
    ['batch_norm']
    """
    return [name for name in parameters if _hashable(trials[name]).nunique(dropna=False) > 1]


def is_number(column: pd.Series) -> bool:
    """Whether all values are numbers; booleans are not."""
    present = column.dropna()
    if pd.api.types.is_bool_dtype(present):
        return False
    if pd.api.types.is_numeric_dtype(present):
        return True
    return len(present) > 0 and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in present)


def is_logarithmic(column: pd.Series) -> bool:
    """Whether the numbers are positive and span a ratio of at least LOG_SCALE_RATIO."""
    low, high = column.min(), column.max()
    return bool(low > 0 and high / low >= LOG_SCALE_RATIO)


def encode(trials: pd.DataFrame, parameters: Sequence[str], *, logs: bool = True) -> tuple[pd.DataFrame, list[str]]:
    """Encode ``parameters`` as numeric columns; also return the parameter to which each column belongs.

    A number becomes one column, on a log scale if ``is_logarithmic`` and ``logs``. Its missing values become the
    median, and an extra column "name=(none)" marks them. Any other parameter becomes one column of 0 and 1 per value.

    >>> columns, owners = encode(study.trials, ["batch_norm", "learning_rate"])
    >>> list(columns), owners
    (['batch_norm=False', 'batch_norm=True', 'learning_rate'], ['batch_norm', 'batch_norm', 'learning_rate'])
    """
    columns: dict[str, pd.Series] = {}
    owners: list[str] = []
    for name in parameters:
        added = _number_columns(trials[name], name, logs) if is_number(trials[name]) else _one_hot(trials[name], name)
        columns |= added
        owners += [name] * len(added)
    return pd.DataFrame(columns, index=trials.index, dtype=float), owners


def _number_columns(column: pd.Series, name: str, logs: bool) -> dict[str, pd.Series]:
    numbers = pd.to_numeric(column).astype(float)
    scaled = np.log10(numbers) if logs and is_logarithmic(numbers) else numbers
    columns = {name: scaled.fillna(scaled.median())}
    if numbers.isna().any():
        columns[f"{name}={MISSING}"] = numbers.isna().astype(float)
    return columns


def _one_hot(column: pd.Series, name: str) -> dict[str, pd.Series]:
    labels = level_labels(column)
    return {f"{name}={label}": labels.eq(label).astype(float) for label in labels.cat.categories}


def level_labels(column: pd.Series) -> pd.Series:
    """Convert the values to ordered text categories: numbers ascending, many numbers as ranges, MISSING last.

    >>> list(level_labels(study.trials["learning_rate"]).cat.categories)
    ['0.0001', '0.001', '0.01']
    """
    if is_number(column) and column.nunique() > MAX_LEVELS:
        return _ranges(pd.to_numeric(column).astype(float))
    values = _hashable(column)
    present = list(values.dropna().unique())
    ordered = sorted(present) if is_number(column) else order_labels(map(label_of, present))
    labels = [label_of(value) for value in ordered]
    labels += [MISSING] if values.isna().any() else []
    texts = values.map(lambda value: MISSING if pd.isna(value) else label_of(value))
    return pd.Series(pd.Categorical(texts, categories=list(dict.fromkeys(labels)), ordered=True), column.index)


def order_labels(labels: Iterable[str]) -> list[str]:
    """Labels in the order of every axis, legend and list, each once: numbers ascending, then text, "None" last.

    A range such as "0.1 to 0.3" counts as its lower end.

    >>> order_labels(["None", "relu", "128", "32", "1e-4", "True", "False", "64"])
    ['1e-4', '32', '64', '128', 'False', 'True', 'relu', 'None']
    """
    return sorted(dict.fromkeys(labels), key=_place)


def _place(label: str) -> tuple[int, float, str]:
    try:
        number = float(label.partition(" to ")[0])
    except ValueError:
        number = math.nan
    if math.isnan(number):
        return (2 if label in NONE_LABELS else 1), 0.0, label
    return 0, number, label


def label_of(value: Hashable) -> str:
    """The text of a value in tables and claims: 1.0 becomes "1"; 1e-4 and 0.0001 become the same text.

    >>> label_of(1e-4), label_of(1.0), label_of(True)
    ('0.0001', '1', 'True')
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | float | np.number):
        return f"{float(value):.6g}"
    return str(value)


def _ranges(numbers: pd.Series) -> pd.Series:
    cut = pd.qcut(numbers, BINS, duplicates="drop")
    names = [f"{interval.left:.3g} to {interval.right:.3g}" for interval in cut.cat.categories]
    cut = cut.cat.rename_categories(names)
    return cut.cat.add_categories(MISSING).fillna(MISSING) if numbers.isna().any() else cut


def _hashable(column: pd.Series) -> pd.Series:
    """Convert values that pandas cannot count, such as lists, to text."""
    if column.dtype == object and not all(isinstance(value, Hashable) for value in column):
        return column.map(lambda value: value if _is_missing(value) else str(value))
    return column


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
