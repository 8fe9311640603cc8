"""End a trial whose process is frozen, its own watchdog included: stopped, swapped out, or on a machine that is."""

import time
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from inat.constants import ERRORS_DIR, HANG_SUFFIX

MARGIN_SECONDS = 10.0  # by then the process's own watchdog has written down where the trial hangs, if it is alive


class HangMonitor(Callback):
    """Kills the process of a trial without a sign of life for ``seconds`` and a margin; None: never.

    A report is one, and that the process's own watchdog has touched its file: a trial that builds features, or waits
    for them, reports nothing for as long as it takes.

    The trial is then tried again from its last checkpoint, as after any death of its process.
    """

    def __init__(self, study_dir: Path, seconds: float | None) -> None:
        self._study_dir = study_dir
        self._limit = None if seconds is None else seconds + MARGIN_SECONDS
        self._heard: dict[str, float] = {}
        self._touched: dict[str, int] = {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._heard[trial.trial_id] = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        self._heard[trial.trial_id] = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._forget(trial)

    def _forget(self, trial: TuneTrial) -> None:
        """It may wait for its next process longer than the limit."""
        self._heard.pop(trial.trial_id, None)
        self._touched.pop(trial.trial_id, None)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if self._limit is None:
            return
        now = time.monotonic()
        for trial in trials:
            actor = trial.temporary_state.ray_actor
            # Pending with a process: one that is reused and has yet to answer that it takes the trial.
            if trial.status not in (TuneTrial.RUNNING, TuneTrial.PENDING) or actor is None:
                continue
            if self._has_touched_its_file(trial.trial_id):
                self._heard[trial.trial_id] = now
            if self._heard.setdefault(trial.trial_id, now) < now - self._limit:
                self._note(trial.trial_id)
                self._heard[trial.trial_id] = now
                ray.kill(actor)

    def _has_touched_its_file(self, trial_id: str) -> bool:
        """Since the last look: the clock of the machine that the trial runs on may be another."""
        try:
            touched = self._file(trial_id).stat().st_mtime_ns
        except OSError:  # there is none between two trials, and a shared folder may be away for a moment
            return False
        before, self._touched[trial_id] = self._touched.get(trial_id), touched
        return touched != before

    def _file(self, trial_id: str) -> Path:
        return self._study_dir / ERRORS_DIR / f"{trial_id}{HANG_SUFFIX}"

    def _note(self, trial_id: str) -> None:
        path = self._file(trial_id)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("The process did not answer, so it was killed from outside; where it was is not known.\n")
