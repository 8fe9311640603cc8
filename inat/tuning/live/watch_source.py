"""Snapshots of a study on the disk, whose journal another process may be writing."""

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.class_counts import beside
from inat.config.objective import objective_of
from inat.constants import GRID, JOURNAL, LAST_DIR, PREPARATION, SECONDS, STUDY_JSON, TRIALS_CSV
from inat.errors import StudyError
from inat.study.activity import changed, is_tested, search_runs
from inat.study.atomic_io import mend_hint, parse_json_object
from inat.study.journal import UNFIT, Journal
from inat.study.metadata import read_info
from inat.study.trial import Trial
from inat.tuning.best import named_in_best_json
from inat.tuning.budget.plan import time_decides
from inat.tuning.expected_epochs import epochs_left
from inat.tuning.live.snapshot import NOT_RUNNING, Snapshot, TrialView, TrialViews, name_of, refit_messages
from inat.tuning.live.study_result import describe_result
from inat.tuning.live.study_times import Budget, budget_of, seconds_gone
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


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a study found ``at`` a time of ``time.monotonic``.

    ``estimate``: the seconds until the wanted trials have ended; ``result``: what has been tested.
    """

    at: float = float("-inf")
    running: bool = False
    ended: bool = False
    estimate: float | None = None
    budget: Budget | None = None
    result: str = ""


class WatchSource:
    """Makes snapshots of the study in ``directory``; StudyError if it is none, or damaged."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._info = read_info(directory)
        self._info_time = changed(directory / STUDY_JSON)
        self._tail = JournalTail(directory, self._info)
        self._views = TrialViews(self._tail.journal)
        self._looked = Looked()

    def __call__(self) -> Snapshot:
        """The study as it is now on the disk."""
        if (written := changed(self._directory / STUDY_JSON)) != self._info_time:  # a resumed search may want more
            self._info, self._info_time = read_info(self._directory), written
        if self._tail.poll():
            self._views = TrialViews(self._tail.journal)
        journal = self._tail.journal
        wanted, rungs = wanted_of(self._info), rungs_of(self._info["config"])
        if time.monotonic() - self._looked.at > STATUS_SECONDS:
            self._looked = self._look(wanted, rungs)
        looked = self._looked
        elapsed, budget, left = self._times(looked)
        return Snapshot(
            study=name_of(self._directory),
            status="running" if looked.running else "ended" if looked.ended else NOT_RUNNING,
            objective=journal.objective,
            wanted=wanted,
            max_epochs=rungs.max_epochs * rungs.trainings if rungs else None,
            best=self._best(looked.running),
            elapsed=elapsed,
            during=" in the search" if wanted is None and not looked.running else "",
            budget=budget,
            left=left,
            constant=beside(self._info, journal.objective).strip(" ()"),
            result=looked.result,
            running=self._views.running(),
            ended=self._views.ended(),
            messages=self._messages(looked.running),
        )

    def _look(self, wanted: int | None, rungs: Rungs | None) -> Looked:
        journal, directory = self._tail.journal, self._directory
        trials = list(journal.trials.values())
        over = wanted is not None and journal.num_ended >= wanted
        running = search_runs(directory, over=over and not journal.unfinished())
        ended = over or is_tested(directory) or (wanted is None and self._last_has_begun())
        return Looked(
            time.monotonic(),
            running,
            ended,
            seconds_left_of(trials, wanted, rungs) if running and wanted and rungs else None,
            budget_of(directory, self._info, trials) if running else None,
            describe_result(directory) if ended and not running else "",
        )

    def _times(self, looked: Looked) -> tuple[float | None, float | None, float | None]:
        """The seconds gone, those of the whole budget, and those that are left; the search's own without a budget."""
        gone = seconds_gone(self._directory, self._tail.journal.trials.values(), looked.running)
        left = looked.estimate
        if looked.budget is None:
            return gone, None, left
        within = max(0.0, looked.budget.ends - time.time())
        left = within if left is None else min(left, within)
        if not looked.budget.whole:
            return gone, None, left
        return looked.budget.seconds - within, looked.budget.seconds, left

    def _best(self, running: bool) -> TrialView | None:
        """The best trial so far; once the search has ended, the cheaper one if that was chosen in its place."""
        chosen = None if running else named_in_best_json(self._tail.journal, self._directory)
        return self._views.best() if chosen is None else self._views.view(chosen)

    def _messages(self, running: bool) -> tuple[str, ...]:
        if running and self._last_has_begun():
            command = f"inat watch {shlex.quote(str(self._directory / LAST_DIR))}"
            return "the last training has begun; watch it with", command
        return refit_messages(self._info)

    def _last_has_begun(self) -> bool:
        return (self._directory / LAST_DIR / JOURNAL).exists()


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
