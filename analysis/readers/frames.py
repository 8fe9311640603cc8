"""What all readers share: the columns of a study's frames, their types, and the best value of a trial."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from analysis.schema import (
    BEST_VAL_ACC,
    CREATED,
    EPOCH,
    EPOCHS,
    ERROR,
    HISTORY_COLUMNS,
    NAME,
    NODE,
    SECONDS,
    STATE,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    VAL_ACC,
)

Mode = Literal["max", "min"]
SIGNS: dict[Mode, int] = {"max": 1, "min": -1}
Broken = list[tuple[str, str]]  # place and reason of each row or file that cannot be read

TEXT = (TRIAL_ID, NAME, STATE, NODE, ERROR)
WHOLE = (TRAINABLE, EPOCHS)
EXACT = 2**53  # floats below it hold every integer
OBJECTIVE = "objective"  # in a history before ``finish``: the metric that best_val_acc is the best of


class Frames(NamedTuple):
    """What a reader makes of a study; see ``analysis.study.Study``."""

    trials: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]
    parameters: list[str]
    metric: str = BEST_VAL_ACC
    mode: Mode = "max"


def finish(
    trials: pd.DataFrame, history: pd.DataFrame, info: dict[str, Any], columns: Sequence[str], parameters: Sequence[str]
) -> Frames:
    """Frames with the columns and types of a study; ``columns`` are all of the configuration, ``parameters`` count."""
    trials = trials.reindex(columns=[*TRIAL_COLUMNS_BEFORE, *columns, *TRIAL_COLUMNS_AFTER]).reset_index(drop=True)
    types: dict[str, Any] = {name: as_text(trials[name]) for name in TEXT}
    types[NAME] = types[NAME].fillna(types[TRIAL_ID])
    types |= {name: as_value(trials[name]) for name in columns}
    types |= {name: as_whole(trials[name]) for name in WHOLE}
    types |= {name: pd.to_numeric(trials[name], errors="coerce").astype(float) for name in (BEST_VAL_ACC, SECONDS)}
    types[CREATED] = pd.to_datetime(trials[CREATED], utc=True, errors="coerce", format="ISO8601")
    return Frames(trials.assign(**types), finish_history(history), info, list(parameters))


def finish_history(history: pd.DataFrame) -> pd.DataFrame:
    """``history`` with the columns and types of a study."""
    history = history.reindex(columns=list(HISTORY_COLUMNS)).reset_index(drop=True)
    measured = [name for name in HISTORY_COLUMNS if name not in (TRIAL_ID, EPOCH)]
    types: dict[str, Any] = {name: pd.to_numeric(history[name], errors="coerce").astype(float) for name in measured}
    types |= {TRIAL_ID: as_text(history[TRIAL_ID]), EPOCH: history[EPOCH].astype("int64")}
    return history.assign(**types)


def as_text(column: pd.Series) -> pd.Series:
    """Strings, NaN where there is nothing or an empty one."""
    text = column.astype("str")
    return text.mask(column.isna() | text.eq(""))


def as_whole(column: pd.Series) -> pd.Series:
    """Integers, nullable ones if some are missing; as they are if they are not whole."""
    values = pd.to_numeric(column, errors="coerce")
    present = values.dropna()
    if not (present.abs().lt(EXACT) & (present % 1 == 0)).all():
        return values
    return values.astype("Int64" if len(present) < len(values) or not len(values) else "int64")


def as_value(column: pd.Series) -> pd.Series:
    """A hyperparameter with its natural type: booleans, integers (nullable), floats, strings.

    None is a category of its own, "None", beside strings; beside numbers and booleans it is a missing value.
    """
    if column.dtype != object:
        return as_number(column) if column.dtype.kind in "iuf" else column
    present = column.dropna()
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return column.astype("boolean" if len(present) < len(column) else bool)
    if kinds <= {int, float}:
        numbers = pd.to_numeric(column)
        return as_number(numbers.astype(float) if numbers.dtype == object else numbers)  # object: beyond 64 bits
    return as_text(column.map(lambda value: "None" if value is None else value))  # a missing value is NaN, not None


def as_number(column: pd.Series) -> pd.Series:
    """Floats as they are; integers with missing values, which pandas holds as floats, as nullable integers."""
    return as_whole(column) if column.isna().any() and column.notna().any() else column


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by "/" as Tune does; lists become their JSON text."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}/")
        else:
            flat[name] = json.dumps(value) if isinstance(value, list) else value
    return flat


def column_name(parameter: str) -> str:
    """The column of a parameter: its name, after "config/" where a column of the study has that name."""
    return f"config/{parameter}" if parameter in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER) else parameter


def settings_of(configs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The configurations of trials as columns, nested ones flat; NaN, and not None, is what a trial does not have."""
    flat = [flatten(config) for config in configs]
    names = dict.fromkeys(name for config in flat for name in config)
    return pd.DataFrame(
        {column_name(name): pd.Series([config.get(name, np.nan) for config in flat], dtype=object) for name in names},
        index=range(len(flat)),
    )


def varying(trials: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The ``columns`` with more than one value; all of them if there is one trial."""
    return [name for name in columns if len(trials) < 2 or trials[name].astype("str").nunique(dropna=False) > 1]


def chosen(trials: pd.DataFrame, columns: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The hyperparameters: ``wanted``, or else those of ``columns`` that vary; ValueError for unknown ones."""
    unknown = [name for name in wanted or () if name not in columns]
    if unknown:
        raise ValueError(f"no column {', '.join(unknown)} among the parameters; there are: {', '.join(columns)}")
    return list(wanted) if wanted is not None else varying(trials, columns)


def best_of_trials(history: pd.DataFrame, mode: Mode) -> pd.Series:
    """Best finite OBJECTIVE of each trial; a trial without any is not in it."""
    objective = pd.to_numeric(history[OBJECTIVE], errors="coerce")
    # An infinite accuracy or loss comes from a trial that diverged, and is never the best.
    finite = history.assign(**{OBJECTIVE: objective.where(np.isfinite(objective))}).dropna(subset=OBJECTIVE)
    return finite.groupby(TRIAL_ID)[OBJECTIVE].agg(mode)


def without_repeats(history: pd.DataFrame) -> pd.DataFrame:
    """``history`` without the rows that a trial, set back to a checkpoint, reported again or never reached again."""
    later = history.iloc[::-1].groupby(TRIAL_ID)[EPOCH]
    least_later = later.cummin().groupby(history[TRIAL_ID].iloc[::-1]).shift()
    return history[least_later.isna() | history[EPOCH].lt(least_later.sort_index())]


def counted_from_one(epochs: pd.Series) -> pd.Series:
    """Epochs counted from 1, also where a study counted them from 0."""
    return epochs + 1 if len(epochs) and epochs.min() == 0 else epochs


def choose_metric(wanted: str | None, known: Sequence[str], listed: Sequence[str]) -> str:
    """``wanted`` or, if None, best_val_acc or val_acc; if that is not ``known``, ValueError with those to be listed."""
    for metric in (wanted,) if wanted is not None else (BEST_VAL_ACC, VAL_ACC):
        if metric in known:
            return metric
    missing = wanted if wanted is not None else f"{BEST_VAL_ACC} or {VAL_ACC}"
    there = ", ".join(listed) or "none"
    raise ValueError(f"no metric {missing}; choose one of the numeric columns that there are: {there}")
