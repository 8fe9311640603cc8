"""Optuna's files: an SQLite database, or a journal. What they hold of one study, for ``optuna_db``."""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.distributions import json_to_distribution
from optuna.storages.journal import BaseJournalBackend

from analysis.readers.frames import Broken

SQLITE, JOURNAL = b"SQLite format 3\0", b'{"op_code":'
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


def read_recorded(file: Path, study: str | None, broken: Broken) -> tuple[str, str, list[Recorded]]:
    """Name, direction and trials of a study in either kind of file; ValueError if it is neither."""
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; pass a study directory, a Ray Tune experiment, an Optuna "
                                "database or journal, or a CSV of W&B runs")  # fmt: skip
    with file.open("rb") as opened:
        start = opened.read(len(SQLITE))
    if start == SQLITE:
        return read_database(file, study, broken)
    if start.startswith(JOURNAL):
        return read_journal(file, study, broken)
    raise ValueError(f"{file} is no study: neither an SQLite database or a journal of Optuna, nor a CSV of W&B runs, "
                     "which has columns Name and State")  # fmt: skip


def read_database(file: Path, study: str | None, broken: Broken) -> tuple[str, str, list[Recorded]]:
    """Name, direction and trials of a study in an SQLite file, which is opened for reading only.

    Optuna's own storage took 2.6 s for 1,000 trials of 30 steps; these queries take 0.1 s.
    """
    address = f"file:{quote(str(file.resolve()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            database.text_factory = lambda text: text.decode("utf-8", errors="replace")
            found = dict(database.execute("SELECT study_name, study_id FROM studies"))
            name = _choose(file, study, list(found))
            rows = database.execute("SELECT direction FROM study_directions WHERE study_id = ?", [found[name]])
            direction = " and ".join(direction for (direction,) in rows)
            return name, direction, _trials(database, found[name], broken)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from a damaged schema
        raise ValueError(
            f"{file} cannot be read as Optuna's database ({error}); restore it from a copy, or, if an old Optuna wrote "
            f"it, run 'optuna storage upgrade --storage sqlite:///{file}'"
        ) from error


def _trials(database: sqlite3.Connection, study_id: int, broken: Broken) -> list[Recorded]:
    query = "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials WHERE study_id = ?"
    trials = {
        key: Recorded(number, state, _date(start, number, broken), _date(complete, number, broken))
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
        try:
            trials[key].attributes[name] = json.loads(text)
        except ValueError as error:
            broken.append((f"trial {trials[key].number}", f"attribute {name} is no JSON: {error}"))
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


def _date(text: str | None, number: int, broken: Broken) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        broken.append((f"trial {number}", str(error)))
        return None


class Lines(BaseJournalBackend):
    """The lines of a journal up to the first damaged one: what follows counts trials by their order."""

    def __init__(self, file: Path, broken: Broken) -> None:
        self._logs: list[dict[str, Any]] = []
        lines = file.read_bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], start=1):  # after the last line end: nothing, or a line in writing
            try:
                self._logs.append(json.loads(line))
            except ValueError as error:
                broken.append((f"{file.name} line {number}", f"{error}; this line and all later ones are left out"))
                return
        if lines[-1]:
            broken.append((f"{file.name} line {len(lines)}", "half-written"))

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise AssertionError("a study that is only read")


def read_journal(file: Path, study: str | None, broken: Broken) -> tuple[str, str, list[Recorded]]:
    """Name, direction and trials of a study in a journal file."""
    try:
        storage = optuna.storages.JournalStorage(Lines(file, broken))
    except Exception as error:  # replaying lines that do not fit together raises whatever it meets first
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
    if study is not None and study in found:
        return study
    if study is None and len(found) == 1:
        return found[0]
    if not found:
        raise ValueError(f"no study that can be read in {file}; restore it from a copy or pass another file")
    wanted = f"no study {study}" if study is not None else f"{len(found)} studies"
    raise ValueError(f"{wanted} in {file}; name one as {file}#STUDY: {', '.join(found)}")
