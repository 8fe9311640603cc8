"""ASHA that can be rebuilt from a study and knows which trials it stopped."""

import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from inat.constants import EPOCH, FINISHED, METRIC, MODE
from inat.study.study import Study

# A process has started by then; if not, Ray has lost sight of it, as it did once with a machine that had come back.
START_SECONDS = 30.0


class StudyASHA(AsyncHyperBandScheduler):
    """Asynchronous successive halving over epochs (Li et al. 2018, arXiv:1810.05934), as Ray implements it.

    Tune does not save a scheduler's rungs, so a search restored by Tune stops fewer trials. ``replay`` fills them from
    the study in the order in which the epochs arrived; every later decision is then the one the uninterrupted search
    would have made.
    """

    def __init__(self, *, max_epochs: int, grace_period: int, reduction_factor: int) -> None:
        super().__init__(
            time_attr=EPOCH, metric=METRIC, mode=MODE,
            max_t=max_epochs, grace_period=grace_period, reduction_factor=reduction_factor,
        )  # fmt: skip
        self.max_epochs = max_epochs
        self.stopped_early: set[str] = set()
        self._pending: dict[str, float] = {}  # trials that wait for a process, since when

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP and result[EPOCH] < self.max_epochs:
            self.stopped_early.add(trial.trial_id)
        return decision

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial that is to get the next process that becomes free, before new trials: one that waits for long.

        Ray's choice is the first pending one, even if its process is just starting on another machine, which Tune then
        ends: where trials end more often than a process takes to start, a machine that joins would never get one.
        """
        now = time.monotonic()
        pending = [trial for trial in tune_controller.get_live_trials() if trial.status == TuneTrial.PENDING]
        self._pending = {trial.trial_id: self._pending.get(trial.trial_id, now) for trial in pending}
        late = [trial for trial in pending if now - self._pending[trial.trial_id] > START_SECONDS]
        return min(late, key=lambda trial: self._pending[trial.trial_id], default=None)

    def replay(self, arrivals: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Decide on (trial_id, epoch row) again, in the given order; ``stopped_early`` then holds whom it stopped."""
        live: set[str] = set()
        for trial_id, row in arrivals:
            trial = SimpleNamespace(trial_id=trial_id)
            if trial_id not in live:
                self.on_trial_add(None, trial)
                live.add(trial_id)
            if FINISHED in row:
                # Tune does not ask about a trial that ends by itself, but tells of its end, which counts in its rung.
                self.on_trial_complete(None, trial, row)
                live.remove(trial_id)
            elif trial_id not in self.stopped_early:
                self.on_trial_result(None, trial, row)
        for trial_id in live:
            self.on_trial_remove(None, SimpleNamespace(trial_id=trial_id))


def asha_for(study: Study, *, max_epochs: int, grace_period: int, reduction_factor: int) -> StudyASHA:
    """The scheduler of a study, with what the study already knows."""
    scheduler = StudyASHA(max_epochs=max_epochs, grace_period=grace_period, reduction_factor=reduction_factor)
    scheduler.replay(study.reported_epochs)
    return scheduler
