"""An Optuna study in an SQLite database or a journal file, our own study.db among them."""

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import pandas as pd
from optuna.distributions import json_to_distribution
from optuna.storages.journal import JournalFileBackend

from analysis.readers.frames import (
    Broken,
    Frames,
    Mode,
    counted_from_one,
    finish,
    settings_of,
)
from inat.constants import (
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
SQLITE, JOURNAL = b"SQLite format 3\0", b'{"op_code":'
STATES = {"COMPLETE": COMPLETED, "PRUNED": STOPPED, "FAIL": FAILED, "RUNNING": RUNNING, "WAITING": RUNNING}
DIRECTIONS: dict[str, Mode] = {"MAXIMIZE": "max", "MINIMIZE": "min"}
WITHOUT_NUMBER = {"INF_POS": math.inf, "INF_NEG": -math.inf}  # SQLite holds these, and NaN, as NULL


@dataclass(slots=True)
class Recorded:
    """One trial as it is stored."""

    number: int
    state: str
    start: datetime | None
    complete: datetime | None
    params: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, float] = field(default_factory=dict)
    value: float | None = None


def read_optuna(path: str | Path, metric: str | None, study: str | None, broken: Broken) -> Frames:
    """The frames of one study, whose own direction says which value is the best.

    A trial's history are its intermediate values by step, counted from 1. Its best_val_acc is the best of these and
    of its value, but where the trial has a user attribute of that name, as in our study.db, it is that: our search
    tells Optuna extrapolated values. Other attributes named like columns of ``trials`` count in the same way.
    ``metric`` is a user attribute instead of the value. Optuna's dates are taken for this machine's local time.
    """
    file, study = _file_and_study(path, study)
    read = _reader(file)
    name, direction, trials = read(file, study, broken)
    if direction not in DIRECTIONS:
        raise ValueError(f"study {name} of {file} has {direction} as direction; choose one with a single objective")
    if metric is not None and not any(metric in trial.attributes for trial in trials):
        known = sorted({key for trial in trials for key in trial.attributes})
        raise ValueError(f"no user attribute {metric} in study {name}; there are: {', '.join(known) or 'none'}")
    info = {"source": "Optuna", "study": name, "metric": metric or "value", "mode": DIRECTIONS[direction]}
    return _frames(trials, metric, info)


def _file_and_study(path: str | Path, study: str | None) -> tuple[Path, str | None]:
    """``path`` without sqlite:/// and without #study."""
    text = str(path).removeprefix("sqlite:///")
    if study is None and "#" in text and not Path(text).exists():
        text, _, study = text.rpartition("#")
    return Path(text), study


def _reader(file: Path) -> Callable[[Path, str | None, Broken], tuple[str, str, list[Recorded]]]:
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; pass a study directory, a Ray Tune experiment, an Optuna "
                                "database or journal, or a CSV of W&B runs")  # fmt: skip
    with file.open("rb") as opened:
        start = opened.read(len(SQLITE))
    if start == SQLITE:
        return read_database
    if start.startswith(JOURNAL):
        return read_journal
    raise ValueError(f"{file} is no study: neither an SQLite database or a journal of Optuna, nor a CSV of W&B runs, "
                     "which has columns Name and State")  # fmt: skip


def read_database(file: Path, study: str | None, broken: Broken) -> tuple[str, str, list[Recorded]]:
    """Name, direction and trials of a study in an SQLite file, which is opened for reading only.

    Optuna's own storage took 2.6 s for 1,000 trials of 30 steps; these queries take 0.1 s.
    """
    address = f"file:{quote(str(file.resolve()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            found = dict(database.execute("SELECT study_name, study_id FROM studies"))
            name = _choose(file, study, list(found))
            rows = database.execute("SELECT direction FROM study_directions WHERE study_id = ?", [found[name]])
            direction = " and ".join(direction for (direction,) in rows)
            return name, direction, _trials(database, found[name], broken)
    except sqlite3.Error as error:
        raise ValueError(
            f"{file} cannot be read as Optuna's database ({error}); if an old Optuna wrote it, run "
            f"'optuna storage upgrade --storage sqlite:///{file}'"
        ) from error


def _trials(database: sqlite3.Connection, study_id: int, broken: Broken) -> list[Recorded]:
    query = "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = ?"
    trials = {
        key: Recorded(number, state, _date(start), _date(complete))
        for key, number, state, start, complete in database.execute(f"{query} ORDER BY number", [study_id])
    }

    def each(columns: str, table: str) -> Iterator[tuple[Any, ...]]:
        query = f"SELECT trial_id, {columns} FROM {table} JOIN trials USING (trial_id) WHERE study_id = ?"
        return database.execute(f"{query} ORDER BY {table}.rowid", [study_id])

    for key, name, value, distribution in each("param_name, param_value, distribution_json", "trial_params"):
        try:
            trials[key].params[name] = _external(value, distribution)
        except (ValueError, IndexError, KeyError, TypeError) as error:
            broken.append((f"trial {trials[key].number}", f"{name} has no value of its distribution: {error}"))
    for key, name, text in each('"key", value_json', "trial_user_attributes"):
        trials[key].attributes[name] = json.loads(text)
    for key, value, kind in each("value, value_type", "trial_values"):
        trials[key].value = WITHOUT_NUMBER.get(kind, value)
    for key, step, value, kind in each(
        "step, intermediate_value, intermediate_value_type", "trial_intermediate_values"
    ):
        trials[key].steps[step] = WITHOUT_NUMBER.get(kind, math.nan if value is None else value)
    return list(trials.values())


@lru_cache(maxsize=4096)
def _external(value: float, distribution: str) -> Any:
    """A stored parameter as it was suggested."""
    return json_to_distribution(distribution).to_external_repr(value)


def _date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def read_journal(file: Path, study: str | None, broken: Broken) -> tuple[str, str, list[Recorded]]:
    """Name, direction and trials of a study in a journal file."""
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{file} cannot be read as Optuna's journal ({error}); restore it from a copy") from error
    found = {frozen.study_name: frozen for frozen in storage.get_all_studies()}
    name = _choose(file, study, list(found))
    direction = " and ".join(direction.name for direction in found[name].directions)
    trials = [
        Recorded(
            trial.number, trial.state.name, trial.datetime_start, trial.datetime_complete, trial.params,
            trial.user_attrs, trial.intermediate_values, next(iter(trial.values or []), None),
        )
        for trial in storage.get_all_trials(found[name]._study_id, deepcopy=False)
    ]  # fmt: skip
    return name, direction, trials


def _choose(file: Path, study: str | None, found: list[str]) -> str:
    """The study called ``study``, or the only one there is."""
    if study in found:
        return str(study)
    if study is None and len(found) == 1:
        return found[0]
    wanted = f"no study {study}" if study is not None else f"{len(found)} studies"
    raise ValueError(f"{wanted} in {file}; name one as {file}#STUDY: {', '.join(found) or 'there is none'}")


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
    if trial.start:
        row[CREATED] = trial.start.astimezone(UTC).isoformat()
    if trial.start and trial.complete:
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
