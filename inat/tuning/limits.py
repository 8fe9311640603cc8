"""Stop a search when its time is used up or it is good enough."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Stopper

from inat.constants import COMPLETED
from inat.results import Study
from inat.trials import Trial


class StopAtLimits(Stopper):
    """A Tune stopper, and a listener of trials; ``reason`` says in words which limit was reached, "" before."""

    def __init__(self, study: Study, seconds: float | None, accuracy: float | None) -> None:
        self.reason = ""
        self._study = study
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._seconds, self._accuracy = seconds, accuracy
        for trial in study.ended():
            self.hear(trial)

    def hear(self, trial: Trial) -> None:
        """Look at a trial that has changed."""
        if self._good_enough(trial) and not self.reason:
            self.reason = f"{trial.trial_id} reached the target accuracy of {self._accuracy:g}"

    def _good_enough(self, trial: Trial) -> bool:
        return self._accuracy is not None and (trial.best_val_acc or 0.0) >= self._accuracy

    def settle(self, end: Callable[[str, str, str], object]) -> None:
        """End the running trials that are good enough: what they were searched for is there."""
        for trial in self._study.unfinished():
            if self._good_enough(trial):
                end(trial.trial_id, COMPLETED, "ended at the target accuracy")

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self.reason and self._ends is not None and time.monotonic() >= self._ends:
            self.reason = f"the time budget of {self._seconds:g} s is used up"
        return bool(self.reason)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its stopper into a snapshot that we never read
