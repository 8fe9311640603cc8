"""Read an Optuna study from an SQLite database or a journal file; also the study.db that `inat` writes."""

import math
from datetime import UTC
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.readers.frames import Frames, Mode, ReadErrors, build_frames, epochs_from_one, parameter_table
from analysis.readers.optuna_files import StoredTrial, read_stored_study
from analysis.schema import (
    BEST_VAL_ACC,
    COMPLETED,
    CREATED,
    EPOCH,
    EPOCHS,
    FAILED,
    RUNNING,
    SECONDS,
    STATE,
    STOPPED,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    VAL_ACC,
)

COLUMNS = (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)
STATES = {"COMPLETE": COMPLETED, "PRUNED": STOPPED, "FAIL": FAILED, "RUNNING": RUNNING, "WAITING": RUNNING}
DIRECTIONS: dict[str, Mode] = {"MAXIMIZE": "max", "MINIMIZE": "min"}


def read_optuna(
    path: str | Path, metric: str | None, mode: Mode | None, study: str | None, read_errors: ReadErrors
) -> Frames:
    """Read the tables of one Optuna study; the study's direction decides which value is the best.

    The history of a trial is its intermediate values by step, counted from 1. best_val_acc is the best of the
    intermediate values and the final value. A user attribute with the name of a column of ``trials`` replaces that
    column: study.db needs this, because `inat` reports extrapolated values to Optuna and stores the measured ones as
    attributes.

    ``metric`` names a user attribute to use instead of the trial's value; ``mode`` is then free of the study's
    direction. Optuna stores dates without a time zone; they are read as local time.

    Raises ValueError for a study with several objectives, an unknown ``metric``, or a ``mode`` that contradicts the
    study's direction.
    """
    file, study = _file_and_study(path, study)
    name, direction, trials = read_stored_study(file, study, read_errors)
    if direction not in DIRECTIONS:
        raise ValueError(f"study {name} of {file} has the directions {direction}; choose one with a single objective")
    if metric is not None and not any(metric in trial.attributes for trial in trials):
        known = sorted({key for trial in trials for key in trial.attributes})
        raise ValueError(f"no user attribute {metric} in study {name}; choose from: {', '.join(known) or 'none'}")
    study_mode = DIRECTIONS[direction]
    if metric is None and mode not in (None, study_mode):
        raise ValueError(f"study {name} of {file} has the direction {direction}; leave out mode={mode}")
    info = {"source": "Optuna", "study": name, "metric": metric or "value", "mode": mode or study_mode}
    return _frames(trials, metric, info)._replace(metric=info["metric"], mode=mode or study_mode)


def _file_and_study(path: str | Path, study: str | None) -> tuple[Path, str | None]:
    """Split "sqlite:///file#study" into the file and the name of the study."""
    text = str(path).removeprefix("sqlite:///")
    if study is None and "#" in text and not Path(text).exists():
        text, _, study = text.rpartition("#")
    return Path(text), study


def _frames(trials: list[StoredTrial], metric: str | None, info: dict[str, Any]) -> Frames:
    rows = [(i, *step) for i, trial in enumerate(trials) for step in sorted(trial.steps.items()) if not metric]
    history = pd.DataFrame(rows, columns=[TRIAL_ID, EPOCH, VAL_ACC])
    history[EPOCH] = epochs_from_one(history[EPOCH])
    last = history.groupby(TRIAL_ID)[EPOCH].max()
    table = pd.DataFrame(
        [{EPOCHS: last.get(i, 0)} | _row(trial, metric, info["mode"]) for i, trial in enumerate(trials)],
        columns=[*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER],
    )
    history[TRIAL_ID] = history[TRIAL_ID].map(table[TRIAL_ID])
    settings = parameter_table([trial.params for trial in trials])
    columns = list(settings)
    return build_frames(pd.concat([table, settings], axis=1), history, info, columns, columns)


def _row(trial: StoredTrial, metric: str | None, mode: Mode) -> dict[str, Any]:
    """The row of a trial without its parameters, and without its epochs unless an attribute has them."""
    row: dict[str, Any] = {TRIAL_ID: str(trial.number), STATE: STATES[trial.state]}
    from_inat = TRIAL_ID in trial.attributes  # the dates in study.db are those of the copy, not of the training
    if trial.start and not from_inat:
        row[CREATED] = trial.start.astimezone(UTC).isoformat()
    if trial.start and trial.complete and not from_inat:
        row[SECONDS] = (trial.complete - trial.start).total_seconds()
    row[BEST_VAL_ACC] = _best([*trial.steps.values(), trial.value], mode)
    row |= {name: value for name, value in trial.attributes.items() if name in COLUMNS}
    if metric is not None:
        row[BEST_VAL_ACC] = _best([trial.attributes.get(metric)], mode)
    return row


def _best(values: list[Any], mode: Mode) -> float | None:
    """The best of the finite numbers among ``values``."""
    finite = [value for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
    if not finite:
        return None
    return float(max(finite) if mode == "max" else min(finite))
