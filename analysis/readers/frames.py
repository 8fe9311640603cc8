"""Helpers for all readers: columns and types of a study's tables, and the best value of each trial."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.schema import (
    BEST_VAL_ACC,
    CONTROL_TRIAL_COLUMNS,
    CREATED,
    EPOCH,
    EPOCH_COST,
    EPOCHS,
    ERROR,
    FOLD_TRIAL_COLUMNS,
    HISTORY_COLUMNS,
    NAME,
    NODE,
    OWN_EPOCHS,
    SECONDS,
    STATE,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    VAL_ACC,
)

Mode = Literal["max", "min"]
MODE_SIGNS: dict[Mode, int] = {"max": 1, "min": -1}
ReadErrors = list[tuple[str, str]]  # place and reason of each row or file that could not be read

TEXT_COLUMNS = (TRIAL_ID, NAME, STATE, NODE, ERROR)
INTEGER_COLUMNS = (TRAINABLE, EPOCHS)
EXACT_INTEGERS = 2**53  # a float holds every integer below this one
MAX_DEPTH = 50  # of dictionaries in dictionaries; only a damaged or hostile file has more
OBJECTIVE = "objective"  # history column, before ``build_frames``, whose best value becomes best_val_acc


# Columns of ``trials``, and of the trials that ``analysis.comparable`` compares: no parameter may have these names.
OPTIONAL = (*FOLD_TRIAL_COLUMNS, *CONTROL_TRIAL_COLUMNS, EPOCH_COST, OWN_EPOCHS)
TAKEN = (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER, *OPTIONAL, "accuracy")


class Frames(NamedTuple):
    """The tables that a reader returns; ``analysis.study.StudyData`` documents the fields."""

    trials: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]
    parameters: list[str]
    metric: str = BEST_VAL_ACC
    mode: Mode = "max"
    step: str = EPOCH


def build_frames(
    trials: pd.DataFrame, history: pd.DataFrame, info: dict[str, Any], columns: Sequence[str], parameters: Sequence[str]
) -> Frames:
    """Give the tables the columns and types of a study.

    ``columns``: all columns of the configuration. ``parameters``: the columns that count as hyperparameters.
    """
    extra = [name for name in OPTIONAL if name in trials and name not in columns]
    known = [*TRIAL_COLUMNS_BEFORE, *columns, *TRIAL_COLUMNS_AFTER, *extra]
    trials = trials.reindex(columns=known).reset_index(drop=True)
    typed: dict[str, Any] = {name: as_text(trials[name]) for name in TEXT_COLUMNS}
    typed[NAME] = typed[NAME].fillna(typed[TRIAL_ID])
    typed |= {name: as_parameter(trials[name]) for name in columns}
    typed |= {name: as_integers(trials[name]) for name in INTEGER_COLUMNS}
    typed |= {
        name: pd.to_numeric(trials[name], errors="coerce").astype(float) for name in (BEST_VAL_ACC, SECONDS, *extra)
    }
    typed[CREATED] = pd.to_datetime(trials[CREATED], utc=True, errors="coerce", format="ISO8601")
    return Frames(trials.assign(**typed), build_history(history), info, list(parameters))


def build_history(history: pd.DataFrame) -> pd.DataFrame:
    """Give ``history`` the columns and types of a study."""
    history = history.reindex(columns=list(HISTORY_COLUMNS)).reset_index(drop=True)
    metrics = [name for name in HISTORY_COLUMNS if name not in (TRIAL_ID, EPOCH)]
    typed: dict[str, Any] = {name: pd.to_numeric(history[name], errors="coerce").astype(float) for name in metrics}
    typed |= {TRIAL_ID: as_text(history[TRIAL_ID]), EPOCH: history[EPOCH].astype("int64")}
    return history.assign(**typed)


def as_text(column: pd.Series) -> pd.Series:
    """Convert to strings; missing values and empty strings become NaN."""
    text = column.astype("str")
    return text.mask(column.isna() | text.eq(""))


def as_integers(column: pd.Series) -> pd.Series:
    """Convert to integers, nullable if some are missing; return floats if some are not whole."""
    values = pd.to_numeric(column, errors="coerce")
    present = values.dropna()
    if not (present.abs().lt(EXACT_INTEGERS) & (present % 1 == 0)).all():
        return values
    return values.astype("Int64" if len(present) < len(values) or not len(values) else "int64")


def as_parameter(column: pd.Series) -> pd.Series:
    """Convert a hyperparameter to its natural type: booleans, (nullable) integers, floats or strings.

    Among strings, None is the category "None". Among numbers and booleans, None is a missing value.
    """
    if column.dtype != object:
        return as_numbers(column) if column.dtype.kind in "iuf" else column
    present = column.dropna()
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return column.astype("boolean" if len(present) < len(column) else bool)
    if kinds <= {int, float}:
        numbers = pd.to_numeric(column)
        return as_numbers(numbers.astype(float) if numbers.dtype == object else numbers)  # object: more than 64 bits
    return as_text(column.map(lambda value: "None" if value is None else value))  # NaN stays a missing value


def as_numbers(column: pd.Series) -> pd.Series:
    """Convert integers with missing values, which pandas stores as floats, to nullable integers."""
    return as_integers(column) if column.isna().any() and column.notna().any() else column


def flatten(nested: dict[str, Any], prefix: str = "", depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Flatten nested dictionaries; join keys with "/" as Tune does, and turn lists into JSON text.

    Dictionaries more than ``depth`` levels down are left out.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}/", depth - 1) if depth else {}
        else:
            flat[name] = json.dumps(value) if isinstance(value, list) else value
    return flat


def parameter_column(parameter: str) -> str:
    """The column of a parameter: its name, prefixed with "config/" if the tables have a column of that name."""
    return f"config/{parameter}" if parameter in TAKEN else parameter


def parameter_table(configs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row per configuration, flattened; a parameter that a trial lacks is NaN, not None."""
    flat = [flatten(config) for config in configs]
    names = dict.fromkeys(name for config in flat for name in config)
    return pd.DataFrame(
        {
            parameter_column(name): pd.Series([config.get(name, np.nan) for config in flat], dtype=object)
            for name in names
        },
        index=range(len(flat)),
    )


def columns_that_vary(trials: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The ``columns`` with more than one value; all ``columns`` if there is only one trial."""
    return [name for name in columns if len(trials) < 2 or trials[name].astype("str").nunique(dropna=False) > 1]


def select_parameters(trials: pd.DataFrame, columns: Sequence[str], requested: Sequence[str] | None) -> list[str]:
    """The hyperparameters: ``requested``, or by default the ``columns`` that vary.

    Raises ValueError if a requested name is not one of the ``columns``.
    """
    unknown = [name for name in requested or () if name not in columns]
    if unknown:
        raise ValueError(f"no parameter {', '.join(unknown)}; choose from: {', '.join(columns)}")
    return list(requested) if requested is not None else columns_that_vary(trials, columns)


def best_objectives(history: pd.DataFrame, mode: Mode) -> pd.Series:
    """The best finite OBJECTIVE of each trial, by trial_id; trials without one are left out."""
    objective = pd.to_numeric(history[OBJECTIVE], errors="coerce")
    # An infinite accuracy or loss comes from a diverged trial and is never the best.
    finite = history.assign(**{OBJECTIVE: objective.where(np.isfinite(objective))}).dropna(subset=OBJECTIVE)
    return finite.groupby(TRIAL_ID)[OBJECTIVE].agg(mode)


def drop_repeated_epochs(history: pd.DataFrame) -> pd.DataFrame:
    """Drop the rows that a trial reported before it went back to an earlier checkpoint.

    The rows that the trial reported after the restore replace all earlier rows from that epoch on.
    """
    later = history.iloc[::-1].groupby(TRIAL_ID)[EPOCH]
    lowest_later = later.cummin().groupby(history[TRIAL_ID].iloc[::-1]).shift()
    return history[lowest_later.isna() | history[EPOCH].lt(lowest_later.sort_index())]


def epochs_from_one(epochs: pd.Series) -> pd.Series:
    """Shift epochs that are counted from 0 to start at 1."""
    return epochs + 1 if len(epochs) and epochs.min() == 0 else epochs


def choose_metric(requested: str | None, available: Sequence[str], listed: Sequence[str]) -> str:
    """The requested metric, or by default best_val_acc or else val_acc.

    Raises ValueError, naming the ``listed`` columns, if the metric is not ``available``.
    """
    for metric in (requested,) if requested is not None else (BEST_VAL_ACC, VAL_ACC):
        if metric in available:
            return metric
    missing = requested if requested is not None else f"{BEST_VAL_ACC} or {VAL_ACC}"
    raise ValueError(f"no metric {missing}; choose one of the numeric columns: {', '.join(listed) or 'none'}")
