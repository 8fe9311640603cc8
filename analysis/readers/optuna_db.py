"""Read an Optuna study from an SQLite database or a journal file; also the study.db that `inat` writes."""

import math
from datetime import UTC
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.objective import OBJECTIVES
from analysis.readers.frames import (
    EXACT_INTEGERS,
    Frames,
    Mode,
    ReadErrors,
    build_frames,
    epochs_from_one,
    parameter_table,
)
from analysis.readers.optuna_files import StoredStudy, StoredTrial, read_stored_study
from analysis.schema import (
    BEST_VAL_ACC,
    COMPLETED,
    CREATED,
    EPOCH,
    EPOCHS,
    FAILED,
    NAME,
    RUNNING,
    SECONDS,
    STATE,
    STEP,
    STOPPED,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    VAL_ACC,
)
from analysis.schema import STATES as KNOWN_STATES

COLUMNS = (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)
NUMBERS = (BEST_VAL_ACC, EPOCHS, SECONDS, TRAINABLE)
STATES = {"COMPLETE": COMPLETED, "PRUNED": STOPPED, "FAIL": FAILED, "RUNNING": RUNNING, "WAITING": RUNNING}
DIRECTIONS: dict[str, Mode] = {"MAXIMIZE": "max", "MINIMIZE": "min"}


def read_optuna(
    path: str | Path,
    metric: str | None,
    mode: Mode | None,
    study: str | None,
    read_errors: ReadErrors,
    default_mode: Mode | None = None,
) -> Frames:
    """Read the tables of one Optuna study; the direction of its objective decides which value is the best.

    The history of a trial is its intermediate values by step; steps 0, 1, 2, ... are counted from 1. best_val_acc is
    the best of the intermediate values and the final value. A user attribute with the name of a column of ``trials``
    replaces that column: study.db needs this, because `inat` reports extrapolated values to Optuna and stores the
    measured ones as attributes.

    ``metric`` names an objective by its index or name, or a user attribute to use instead of the trial's value; for an
    attribute ``mode``, or else ``default_mode``, is free of the study's direction. Optuna stores dates without a time
    zone; they are read as local time.

    Raises ValueError for several objectives of which none is chosen, an unknown ``metric``, or a ``mode`` that
    contradicts the direction of the objective.
    """
    file, study = _file_and_study(path, study)
    stored = read_stored_study(file, study, read_errors)
    if not stored.directions or not all(direction in DIRECTIONS for direction in stored.directions):
        found = " and ".join(stored.directions) or "none"
        raise ValueError(f"study {stored.name} of {file} has the direction {found}; choose another study")
    objective = _objective(stored, metric, file)
    trials = stored.trials
    steps = sorted({step for trial in trials for step in trial.steps})
    step = EPOCH if any(TRIAL_ID in trial.attributes for trial in trials) else STEP
    info: dict[str, Any] = {"source": "Optuna", "study": stored.name}
    attribute = metric if objective is None else _measured(trials, objective)
    if objective is None:
        own = DIRECTIONS[stored.directions[0]] if len(stored.directions) == 1 else "max"
        info |= {"metric": metric, "mode": mode or default_mode or own}
    else:
        own = DIRECTIONS[stored.directions[objective]]
        if mode not in (None, own):
            direction = stored.directions[objective]
            raise ValueError(f"study {stored.name} of {file} has the direction {direction}; leave out mode={mode}")
        info |= {"metric": attribute or _label(stored, objective), "mode": own}
    frames = _frames(trials, attribute, objective or 0, info, [] if objective is None else steps)
    return frames._replace(metric=info["metric"], mode=info["mode"], step=step)


def _objective(stored: StoredStudy, metric: str | None, file: Path) -> int | None:
    """The index of the objective that ``metric`` names; None if it names a user attribute."""
    count = len(stored.directions)
    attributes = {key for trial in stored.trials for key in trial.attributes}
    if metric is None:
        if count == 1:
            return 0
        raise ValueError(
            f"study {stored.name} of {file} has {count} objectives; choose one with --metric: {_listed(stored)}"
        )
    if metric in stored.metric_names and not (count == 1 and metric in attributes):
        return stored.metric_names.index(metric)
    if metric in attributes:
        return None
    if metric.isdecimal() and int(metric) < count:
        return int(metric)
    known = [_listed(stored), *sorted(attributes)]
    raise ValueError(f"no objective or user attribute {metric} in study {stored.name}; choose from: {', '.join(known)}")


def _measured(trials: list[StoredTrial], objective: int) -> str | None:
    """The attribute in which a study.db of `inat` has the measured values; None for one of the accuracy, or others.

    That of the accuracy is a column of ``trials``, and replaces it in any case.
    """
    own = {name for trial in trials if TRIAL_ID in trial.attributes for name in trial.attributes}
    names = [one.best_column for one in OBJECTIVES.values() if one.best_column in own - {BEST_VAL_ACC}]
    return names[0] if len(names) == 1 and objective == 0 else None


def _label(stored: StoredStudy, objective: int) -> str:
    if stored.metric_names:
        return stored.metric_names[objective]
    return "value" if len(stored.directions) == 1 else f"objective {objective}"


def _listed(stored: StoredStudy) -> str:
    """The objectives with their indices, names and directions: "0 (accuracy, maximize), 1 (flops, minimize)"."""
    names = stored.metric_names or [""] * len(stored.directions)
    return ", ".join(
        f"{i} ({', '.join(filter(None, (name, direction.lower())))})"
        for i, (name, direction) in enumerate(zip(names, stored.directions, strict=True))
    )


def _file_and_study(path: str | Path, study: str | None) -> tuple[Path, str | None]:
    """Split "sqlite:///file#study" into the file and the name of the study."""
    text = str(path).removeprefix("sqlite:///")
    if study is None and "#" in text and not Path(text).exists():
        text, _, study = text.rpartition("#")
    return Path(text), study


def _frames(
    trials: list[StoredTrial], metric: str | None, objective: int, info: dict[str, Any], steps: list[int]
) -> Frames:
    used = {step for step in steps if abs(step) < EXACT_INTEGERS}  # a journal may hold any integer
    rows = [(i, *step) for i, trial in enumerate(trials) for step in sorted(trial.steps.items()) if step[0] in used]
    history = pd.DataFrame(rows, columns=[TRIAL_ID, EPOCH, VAL_ACC])
    if steps[:2] in ([0], [0, 1]):  # 0, 100, 200, ... are no epochs that are counted from 0
        history[EPOCH] = epochs_from_one(history[EPOCH])
    last = history.groupby(TRIAL_ID)[EPOCH].max()
    table = pd.DataFrame(
        [{EPOCHS: last.get(i, 0)} | _row(trial, metric, objective, info["mode"]) for i, trial in enumerate(trials)],
        columns=[*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER],
    )
    repeated = table[TRIAL_ID].duplicated(keep=False)  # each trial has its own curve
    table[TRIAL_ID] = table[TRIAL_ID].where(~repeated, [str(trial.number) for trial in trials])
    history[TRIAL_ID] = history[TRIAL_ID].map(table[TRIAL_ID])
    settings = parameter_table([trial.params for trial in trials])
    columns = list(settings)
    return build_frames(pd.concat([table, settings], axis=1), history, info, columns, columns)


def _row(trial: StoredTrial, metric: str | None, objective: int, mode: Mode) -> dict[str, Any]:
    """The row of a trial without its parameters, and without its epochs unless an attribute has them."""
    row: dict[str, Any] = {TRIAL_ID: str(trial.number), STATE: STATES[trial.state]}
    from_inat = TRIAL_ID in trial.attributes  # the dates in study.db are those of the copy, not of the training
    if trial.start and not from_inat:
        row[CREATED] = trial.start.astimezone(UTC).isoformat()
    if trial.start and trial.complete and not from_inat:
        row[SECONDS] = (trial.complete - trial.start).total_seconds()
    row[BEST_VAL_ACC] = _best([*trial.steps.values(), trial.values.get(objective)], mode)
    row |= {name: value for name, value in trial.attributes.items() if name in COLUMNS and _fits(name, value)}
    row |= {name: _finite(row[name]) for name in NUMBERS if name in row}
    if metric is not None:
        row[BEST_VAL_ACC] = _best([trial.attributes.get(metric)], mode)
    return row


def _fits(column: str, value: Any) -> bool:
    """Whether an attribute may replace a ``column`` of ``trials``: anybody can give it any value."""
    if column == STATE:
        return isinstance(value, str) and value in KNOWN_STATES
    return column not in (TRIAL_ID, NAME) or (isinstance(value, str) and bool(value))


def _best(values: list[Any], mode: Mode) -> float | None:
    """The best of the finite numbers among ``values``."""
    finite = [number for value in values if (number := _finite(value)) is not None]
    if not finite:
        return None
    return max(finite) if mode == "max" else min(finite)


def _finite(value: Any) -> float | None:
    """A number as a float; None for anything else, also for an integer that is larger than any float."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
