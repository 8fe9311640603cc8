"""Snapshots of a study on the disk, whose journal another process may be writing."""

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.class_counts import beside
from inat.config.objective import objective_of
from inat.constants import GRID, JOURNAL, LAST_DIR, PREPARATION, SECONDS, STUDY_JSON, TRIALS_CSV
from inat.errors import StudyError
from inat.study.atomic_io import mend_hint, parse_json_object
from inat.study.journal import UNFIT, Journal
from inat.study.metadata import is_running, read_info
from inat.study.trial import Trial
from inat.tuning.best import named_in_best_json
from inat.tuning.budget.plan import time_decides
from inat.tuning.expected_epochs import epochs_left
from inat.tuning.live.snapshot import NOT_RUNNING, Snapshot, TrialView, TrialViews, refit_messages
from inat.tuning.rungs import Rungs

STATUS_SECONDS = 3.0  # between two looks at the lock of the study, and two estimates of the time left


class JournalTail:
    """A journal that grows with its file; ``poll`` applies the lines that have been added since the last call."""

    def __init__(self, directory: Path, objective_info: dict[str, Any]) -> None:
        self.path = directory / JOURNAL
        self._info = objective_info
        self._begin_again()

    def _begin_again(self) -> None:
        self.journal = Journal(objective_of(self._info))
        self._position = self._lines = 0
        self._inode: int | None = None

    def poll(self) -> bool:
        """Read what is new; True if the file is another one, read from its start. StudyError for a damaged line."""
        try:
            with self.path.open("rb") as file:  # opened anew: a network file system then looks for new lines
                return self._read(file)
        except FileNotFoundError as error:
            if (self.path.parent / TRIALS_CSV).exists() or self._position:
                raise StudyError(f"{self.path.parent} has no {JOURNAL}; copy the whole study again") from error
        return False

    def _read(self, file: Any) -> bool:
        status = os.fstat(file.fileno())
        replaced = self._inode is not None and (status.st_ino != self._inode or status.st_size < self._position)
        if replaced:
            self._begin_again()
        self._inode = status.st_ino
        if status.st_size > self._position:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._apply(line)
                self._position += len(line)
        return replaced

    def _apply(self, line: bytes) -> None:
        self._lines += 1
        event = parse_json_object(line)
        if event is None:
            raise StudyError(f"{self.path} is damaged at line {self._lines}; {mend_hint(self.path)}")
        try:
            self.journal.apply(event)
        except UNFIT as error:
            number = self._lines
            raise StudyError(f"{self.path} is damaged: line {number} does not fit; {mend_hint(self.path)}") from error


class WatchSource:
    """Makes snapshots of the study in ``directory``; StudyError if it is none, or damaged."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._info = read_info(directory)
        self._info_time = self._changed(STUDY_JSON)
        self._tail = JournalTail(directory, self._info)
        self._views = TrialViews(self._tail.journal)
        self._slow: tuple[float, bool, float | None] = (float("-inf"), False, None)

    def __call__(self) -> Snapshot:
        """The study as it is now on the disk."""
        if (changed := self._changed(STUDY_JSON)) != self._info_time:  # a resumed search may want more trials
            self._info, self._info_time = read_info(self._directory), changed
        if self._tail.poll():
            self._views = TrialViews(self._tail.journal)
        journal, config = self._tail.journal, self._info["config"]
        wanted, rungs = wanted_of(self._info), rungs_of(config)
        running, left = self._running_and_left(wanted, rungs)
        ended = self._last_has_begun() if wanted is None else journal.num_ended >= wanted
        return Snapshot(
            study=self._directory.absolute().name,
            status="running" if running else "ended" if ended else NOT_RUNNING,
            objective=journal.objective,
            wanted=wanted,
            max_epochs=rungs.max_epochs * rungs.trainings if rungs else None,
            best=self._best(running),
            elapsed=self._elapsed(running),
            left=left,
            constant=beside(self._info, journal.objective).strip(" ()"),
            running=self._views.running(),
            ended=self._views.ended(),
            messages=self._messages(running),
        )

    def _best(self, running: bool) -> TrialView | None:
        """The best trial so far; once the search has ended, the cheaper one if that was chosen in its place."""
        chosen = None if running else named_in_best_json(self._tail.journal, self._directory)
        return self._views.best() if chosen is None else self._views.view(chosen)

    def _running_and_left(self, wanted: int | None, rungs: Rungs | None) -> tuple[bool, float | None]:
        at, running, left = self._slow
        now = time.monotonic()
        if now - at > STATUS_SECONDS:
            running = is_running(self._directory)
            trials = list(self._tail.journal.trials.values())
            left = seconds_left_of(trials, wanted, rungs) if running and wanted and rungs else None
            self._slow = (now, running, left)
        return running, left

    def _elapsed(self, running: bool) -> float | None:
        """Seconds from the first trial until now, or until the last line of a journal that nobody writes."""
        trials = self._tail.journal.trials
        if not trials:
            return None
        try:
            first = datetime.fromisoformat(next(iter(trials.values())).created).timestamp()
        except ValueError:
            return None
        until = time.time() if running else self._changed(JOURNAL)
        return max(0.0, until - first)

    def _messages(self, running: bool) -> tuple[str, ...]:
        if running and self._last_has_begun():
            return (f"the last training has begun: inat watch {self._directory / LAST_DIR}",)
        return refit_messages(self._info)

    def _last_has_begun(self) -> bool:
        return (self._directory / LAST_DIR / JOURNAL).exists()

    def _changed(self, name: str) -> float:
        try:
            return (self._directory / name).stat().st_mtime
        except OSError:
            return 0.0


def wanted_of(info: dict[str, Any]) -> int | None:
    """How many trials the study is to have; None if its study.json does not say, or if the time decides."""
    if time_decides(info):
        return None
    grid, samples = info.get(GRID) or (), info["config"].get("num_samples")
    known = [number for number in (len(grid) or None, samples) if isinstance(number, int)]
    return min(known, default=None)


def rungs_of(config: dict[str, Any]) -> Rungs | None:
    """The rungs that a configuration describes; None if it has no such numbers."""
    names = ("grace_period", "reduction_factor", "max_epochs")
    values = [config.get(name) for name in names] + [config.get(name, 1) for name in ("folds", "repeats")]
    known = [value for value in values if isinstance(value, int) and value > 0]
    if len(known) < len(values) or known[1] < 2:
        return None
    grace, factor, most, folds, repeats = known
    return Rungs(grace, factor, most, folds * repeats)


def seconds_left_of(trials: list[Trial], wanted: int, rungs: Rungs) -> float | None:
    """The seconds until ``wanted`` trials have ended, at the mean speed of all epochs so far; None without any."""
    rows = [row for trial in trials for row in trial.history if row.get(SECONDS) is not None]
    if not rows:
        return None
    per_epoch = sum(float(row[SECONDS]) + float(row.get(PREPARATION) or 0) for row in rows) / len(rows)
    return per_epoch * epochs_left(trials, wanted, rungs)
