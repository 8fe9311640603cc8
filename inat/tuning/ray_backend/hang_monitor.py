"""Detects trials that hang, from inside the trial's process and from the driver.

With --trial-timeout each trial has a file in errors/ while it runs. ``Watchdog``, in the trial's process, touches the
file at each sign of progress; without one for the time-out it writes the stack into the file and ends the process.
``HangMonitor``, in the driver, kills a process that is frozen together with its watchdog (stopped, swapped out, or on a
node that is): such a process neither reports nor touches its file. The trial is then tried again from its last
checkpoint, as after any death of its process. A file that is not empty says that the trial hung (``has_hung``).
"""

import faulthandler
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from inat.constants import ERRORS_DIR, HANG_SUFFIX

MARGIN_SECONDS = 10.0  # that the monitor waits beyond the time-out: a live watchdog has written the stack by then


def hang_file(study_dir: Path, trial_id: str) -> Path:
    """The file of a trial's watchdog."""
    return study_dir / ERRORS_DIR / f"{trial_id}{HANG_SUFFIX}"


def has_hung(study_dir: Path, trial_id: str) -> bool:
    """Whether the watchdog or the monitor wrote something; while a trial runs, its file is empty."""
    path = hang_file(study_dir, trial_id)
    return path.exists() and path.stat().st_size > 0


class Watchdog:
    """Context manager around a trial: after ``seconds`` without a heartbeat, writes the stack to ``path`` and exits.

    faulthandler's own thread ends the process, so that it works while Python is stuck in a library that never returns.
    ``seconds`` None: the process is never ended.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        self._path = path
        self._seconds = seconds

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
            self.heartbeat()
        return self

    def heartbeat(self) -> None:
        """Report progress: the time-out starts again."""
        if self._seconds is not None:
            os.utime(self._file.fileno())
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            self._path.unlink(missing_ok=True)


class HangMonitor(Callback):
    """Kills the process of a trial without a report or heartbeat for ``seconds`` and a margin; None: never."""

    def __init__(self, study_dir: Path, seconds: float | None) -> None:
        self._study_dir = study_dir
        self._limit = None if seconds is None else seconds + MARGIN_SECONDS
        self._last_seen: dict[str, float] = {}
        self._file_times: dict[str, int] = {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._last_seen[trial.trial_id] = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        self._last_seen[trial.trial_id] = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._forget(trial)

    def _forget(self, trial: TuneTrial) -> None:
        """The trial may wait for its next process longer than the limit."""
        self._last_seen.pop(trial.trial_id, None)
        self._file_times.pop(trial.trial_id, None)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if self._limit is None:
            return
        now = time.monotonic()
        for trial in trials:
            actor = trial.temporary_state.ray_actor
            # A pending trial with a process: the process is reused and has not yet confirmed that it takes the trial.
            if trial.status not in (TuneTrial.RUNNING, TuneTrial.PENDING) or actor is None:
                continue
            if self._file_was_touched(trial.trial_id):
                self._last_seen[trial.trial_id] = now
            if self._last_seen.setdefault(trial.trial_id, now) < now - self._limit:
                self._write_note(trial.trial_id)
                self._last_seen[trial.trial_id] = now
                ray.kill(actor)

    def _file_was_touched(self, trial_id: str) -> bool:
        """Whether the file has another time than at the last call; the clock of the trial's node may be wrong."""
        try:
            touched = hang_file(self._study_dir, trial_id).stat().st_mtime_ns
        except OSError:  # no file between two trials, and a shared folder may be away for a moment
            return False
        before, self._file_times[trial_id] = self._file_times.get(trial_id), touched
        return touched != before

    def _write_note(self, trial_id: str) -> None:
        path = hang_file(self._study_dir, trial_id)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("The process did not answer, so it was killed from outside; where it was is not known.\n")
