"""The studies in a folder, with what the list says of each: read again only if a file of the study has changed."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.objective import Objective
from analysis.readers.study_dir import read_info, read_objective, read_trials
from analysis.schema import (
    BEST_JSON,
    BEST_VAL_ACC,
    CREATED,
    FAILED,
    FINAL_DIR,
    HISTORY_CSV,
    LAST_DIR,
    METRICS_JSON,
    RUNNING,
    STATE,
    STUDY_JSON,
    TRIAL_ID,
    TRIALS_CSV,
)
from analysis.side_by_side.evaluations import read_best_json, tested
from inat.errors import StudyError
from inat.study.activity import search_runs
from inat.tuning.live.watch_source import wanted_of

ENDED, NOT_RUNNING, UNREADABLE = "ended", "not running", "unreadable"
LOCK_SECONDS = 2.0  # between two looks at the lock of a study
LISTED_FILES = (STUDY_JSON, TRIALS_CSV, BEST_JSON, f"{LAST_DIR}/{STUDY_JSON}")
REPORTED_FILES = (*LISTED_FILES, HISTORY_CSV, f"{FINAL_DIR}/{METRICS_JSON}")
Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the list. ``done`` and ``failed`` count ended trials; ``reason`` says why a study is unreadable.

    ``last``: the last training of a time budget has begun.
    """

    name: str
    state: str
    done: int = 0
    planned: int | None = None
    failed: int = 0
    running: int = 0
    metric: str = ""
    best: float | None = None
    best_trial: str = ""
    test: float | None = None
    started: str = ""
    reason: str = ""
    last: bool = False


def stamp_of(study: Path, names: Sequence[str]) -> Stamp:
    """What changes if one of these files of a study changes: for each its time, size and inode."""
    return tuple(_stamp(study / name) for name in names)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def find_studies(folder: Path) -> dict[str, Path]:
    """The study directories in ``folder`` by name, or ``folder`` itself if it is one; OSError if it cannot be read.

    A folder whose name is no UTF-8 is left out, as no address can name it.
    """
    if (folder / STUDY_JSON).is_file():
        return {folder.resolve().name: folder}
    with os.scandir(folder) as entries:
        found = {entry.name: Path(entry.path) for entry in entries if _is_utf8(entry.name)}
    return {name: path for name, path in sorted(found.items()) if (path / STUDY_JSON).is_file()}


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class Listing:
    """The studies in ``folder``; its methods may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[Stamp, Summary]] = {}
        self._locked: dict[str, tuple[float, bool]] = {}
        self._mutex = threading.Lock()

    def paths(self) -> dict[str, Path]:
        """The study directories by name; empty if the folder has gone."""
        try:
            return find_studies(self.folder)
        except OSError:
            return {}

    def summaries(self) -> list[Summary]:
        """A row per study: those that run first, then the latest first."""
        rows = [self.summary(name, path) for name, path in self.paths().items()]
        rows.sort(key=lambda row: row.started, reverse=True)
        return sorted(rows, key=lambda row: row.state != RUNNING)

    def summary(self, name: str, path: Path) -> Summary:
        """The row of one study."""
        with self._mutex:
            stamp = stamp_of(path, LISTED_FILES)
            known = self._known.get(name)
            if known is None or known[0] != stamp:
                known = self._known[name] = stamp, read_summary(name, path)
            row = known[1]
            if row.state == UNREADABLE:
                return row
            try:
                return replace(row, state=RUNNING) if self._runs(row, path) else row
            except StudyError as error:
                return replace(row, state=UNREADABLE, reason=str(error))

    def _runs(self, row: Summary, path: Path) -> bool:
        at, running = self._locked.get(row.name, (float("-inf"), False))
        if time.monotonic() - at > LOCK_SECONDS:
            over = row.planned is not None and row.done >= row.planned and not row.running
            running = search_runs(path, over=over)
            self._locked[row.name] = time.monotonic(), running
        return running


def read_summary(name: str, path: Path) -> Summary:
    """Read the row of a study that is not running; its state is UNREADABLE if a file cannot be read."""
    errors: list[tuple[str, str]] = []
    info = read_info(path, errors)
    if not info:
        return Summary(name, UNREADABLE, reason=": ".join(errors[0]) if errors else f"{STUDY_JSON} is empty")
    objective = read_objective(info, errors)
    try:
        trials = read_trials(path, errors, objective.best_column)
    except FileNotFoundError:
        trials = pd.DataFrame()  # the search has not begun its first trial
    except (OSError, ValueError) as error:
        return Summary(name, UNREADABLE, reason=f"{TRIALS_CSV}: {error}")
    return _summary(name, path, trials, objective, wanted_of(info))


def _summary(name: str, path: Path, trials: pd.DataFrame, objective: Objective, planned: int | None) -> Summary:
    if TRIAL_ID not in trials or STATE not in trials:
        return Summary(name, NOT_RUNNING, planned=planned, metric=objective.label)
    running, failed = (int(trials[STATE].eq(state).sum()) for state in (RUNNING, FAILED))
    test, done = tested(read_best_json(path))[0], len(trials) - running
    ended = test is not None or (planned is not None and done >= planned)
    started = trials[CREATED].dropna().astype(str).min() if CREATED in trials else ""
    best, best_trial = _best(trials, objective)
    return Summary(
        name, ENDED if ended else NOT_RUNNING, done, planned, failed, running, objective.label, best, best_trial, test,
        started if isinstance(started, str) else "", last=(path / LAST_DIR / STUDY_JSON).exists(),
    )  # fmt: skip


def _best(trials: pd.DataFrame, objective: Objective) -> tuple[float | None, str]:
    """The best value of a trial that did not fail, and the trial."""
    values: Any = pd.to_numeric(trials[BEST_VAL_ACC], errors="coerce") if BEST_VAL_ACC in trials else pd.Series()
    values = (objective.sign * values[trials[STATE].ne(FAILED)]).replace({float("inf"): float("nan")}).dropna()
    if not len(values):
        return None, ""
    return float(objective.sign * values.max()), str(trials.loc[values.idxmax(), TRIAL_ID])
