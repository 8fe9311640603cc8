"""An Optuna study in an SQLite database or a journal file, our own study.db among them."""

import math
from datetime import UTC
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.readers.frames import Broken, Frames, Mode, counted_from_one, finish, settings_of
from analysis.readers.optuna_files import Recorded, read_recorded
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


def read_optuna(path: str | Path, metric: str | None, mode: Mode | None, study: str | None, broken: Broken) -> Frames:
    """The frames of one study, whose own direction says which value is the best.

    A trial's history are its intermediate values by step, counted from 1. Its best_val_acc is the best of these and
    of its value, but where the trial has a user attribute of that name, as in our study.db, it is that: our search
    tells Optuna extrapolated values; its steps are best accuracies so far, and it has no times. Other attributes
    named like columns of ``trials`` count in the same way.
    ``metric`` is a user attribute instead of the value, and may go the other way than the study, by ``mode``. Optuna's
    dates are taken for this machine's local time.
    """
    file, study = _file_and_study(path, study)
    name, direction, trials = read_recorded(file, study, broken)
    if direction not in DIRECTIONS:
        raise ValueError(f"study {name} of {file} has {direction} as direction; choose one with a single objective")
    if metric is not None and not any(metric in trial.attributes for trial in trials):
        known = sorted({key for trial in trials for key in trial.attributes})
        raise ValueError(f"no user attribute {metric} in study {name}; there are: {', '.join(known) or 'none'}")
    own = DIRECTIONS[direction]
    if metric is None and mode not in (None, own):
        raise ValueError(f"study {name} of {file} has {direction} as direction; leave out mode={mode}")
    info = {"source": "Optuna", "study": name, "metric": metric or "value", "mode": mode or own}
    return _frames(trials, metric, info)._replace(metric=info["metric"], mode=mode or own)


def _file_and_study(path: str | Path, study: str | None) -> tuple[Path, str | None]:
    """``path`` without sqlite:/// and without #study."""
    text = str(path).removeprefix("sqlite:///")
    if study is None and "#" in text and not Path(text).exists():
        text, _, study = text.rpartition("#")
    return Path(text), study


def _frames(trials: list[Recorded], metric: str | None, info: dict[str, Any]) -> Frames:
    rows = [(i, *step) for i, trial in enumerate(trials) for step in sorted(trial.steps.items()) if not metric]
    history = pd.DataFrame(rows, columns=[TRIAL_ID, EPOCH, VAL_ACC])
    history[EPOCH] = counted_from_one(history[EPOCH])
    last = history.groupby(TRIAL_ID)[EPOCH].max()
    table = pd.DataFrame(
        [{EPOCHS: last.get(i, 0)} | _row(trial, metric, info["mode"]) for i, trial in enumerate(trials)],
        columns=[*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER],
    )
    history[TRIAL_ID] = history[TRIAL_ID].map(table[TRIAL_ID])
    settings = settings_of([trial.params for trial in trials])
    columns = list(settings)
    return finish(pd.concat([table, settings], axis=1), history, info, columns, columns)


def _row(trial: Recorded, metric: str | None, mode: Mode) -> dict[str, Any]:
    """A trial's row without its parameters and, unless an attribute has it, number of epochs."""
    row: dict[str, Any] = {TRIAL_ID: str(trial.number), STATE: STATES[trial.state]}
    mirrored = TRIAL_ID in trial.attributes  # from our search: the dates are those of the copy into study.db
    if trial.start and not mirrored:
        row[CREATED] = trial.start.astimezone(UTC).isoformat()
    if trial.start and trial.complete and not mirrored:
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
