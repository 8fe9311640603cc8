"""ASHA that can be rebuilt from a study and knows which trials it stopped."""

import time
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from inat.config.objective import ACCURACY, Objective
from inat.constants import EPOCH, FINISHED, FOLDS_DONE, WOULD_STOP
from inat.study.folds import ends_fold, step_of
from inat.study.study import Study
from inat.tuning.ray_backend.snapshots import NotInSnapshots
from inat.tuning.rungs import Rungs

STEP = "step"
# A process starts within this time. If not, Ray has lost track of it, as it did once with a node that had come back.
START_SECONDS = 30.0


class StudyASHA(NotInSnapshots, AsyncHyperBandScheduler):
    """Asynchronous successive halving over epochs (Li et al. 2018, arXiv:1810.05934), as Ray implements it.

    Tune does not save the rungs of a scheduler, so a search that Tune restores stops fewer trials. ``replay`` fills the
    rungs from the study in the order in which the epochs arrived; each later decision is then the one that the
    uninterrupted search would have made.

    The time of a trial is its STEP. That is its epoch; or, in a study that compares trials at equal cost, what its
    epochs cost in epochs of the recipe: ``epoch_cost`` says what one of a trial does.

    With several ``trainings`` per trial, one per fold and repeat, trials are compared at the same epochs of the first
    one, and then by their mean at the end of each. Patience ends trainings at different epochs, so the STEP
    is the epoch before the first training has ended, then ``max_epochs`` for each ended
    one. The rungs are at ``grace_period * reduction_factor**k`` steps below ``max_epochs``, and at each multiple of it.

    A trial for which ``is_control`` is true is compared like any other, but goes on where it would have been stopped;
    from then on it counts in no rung, as a stopped trial does. So no decision on another trial depends on it.
    ``would_stop`` has the steps after which such trials would have been stopped. ``asha_for`` asks the study which
    trials are controls, so they stay controls when a search is resumed; ``stop_epoch`` is what the study knows of them.
    """

    def __init__(
        self,
        *,
        max_epochs: int,
        grace_period: int,
        reduction_factor: int,
        trainings: int = 1,
        objective: Objective = ACCURACY,
        is_control: Callable[[str], bool] = lambda trial_id: False,
        stop_epoch: Callable[[str], int | None] = lambda trial_id: None,
        epoch_cost: Callable[[str], float] = lambda trial_id: 1.0,
    ) -> None:
        super().__init__(
            time_attr=STEP, metric=objective.best_column, mode=objective.mode,
            max_t=max_epochs * trainings, grace_period=grace_period, reduction_factor=reduction_factor,
        )  # fmt: skip
        self.max_epochs = max_epochs
        self.trainings = trainings
        if trainings > 1:
            steps = Rungs(grace_period, reduction_factor, max_epochs, trainings).steps
            (bracket,) = self._brackets
            bracket._rungs = [(step, {}) for step in reversed(steps)]
        self.stopped_early: set[str] = set()
        self.would_stop: dict[str, int] = {}
        self._is_control, self._stop_epoch, self._epoch_cost = is_control, stop_epoch, epoch_cost
        self.ended_by_user: set[str] = set()  # among stopped_early
        self._to_end: set[str] = set()
        self._pending_since: dict[str, float] = {}  # trials that wait for a process

    def end_trial(self, trial_id: str) -> None:
        """Stop a running trial at its next report, because the user wants to; another thread may call this."""
        self._to_end.add(trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = self._decide(tune_controller, trial, result)
        if decision != TrialScheduler.STOP and trial.trial_id in self._to_end:
            self.stopped_early.add(trial.trial_id)
            self.ended_by_user.add(trial.trial_id)
            return str(TrialScheduler.STOP)
        return decision

    def _decide(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self.trainings > 1 and not _is_compared(result):
            # The value is that of the last rung. A lower rung that this trial has jumped over, because patience
            # ended its first training, would take it in.
            return str(TrialScheduler.CONTINUE)
        result = self._with_step(trial.trial_id, result)
        if trial.trial_id in self.would_stop and result[self._time_attr] < self._max_t:
            return str(TrialScheduler.CONTINUE)
        decision: str = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP and result[self._time_attr] < self._max_t:
            if self._is_control(trial.trial_id):
                self.would_stop[trial.trial_id] = result[self._time_attr]
                return str(TrialScheduler.CONTINUE)
            self.stopped_early.add(trial.trial_id)
        return decision

    def as_recorded(self, trial_id: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row for the journal, with a mark if ASHA would have stopped the trial after it."""
        step = self.would_stop.get(trial_id)
        marked = step is not None and _is_compared(row) and self._step_of(trial_id, row) == step
        return {**row, WOULD_STOP: 1} if marked else row

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if trial.trial_id in self.would_stop:
            self.on_trial_remove(tune_controller, trial)  # its end is in no rung
            return
        super().on_trial_complete(tune_controller, trial, self._with_step(trial.trial_id, result))

    def _with_step(self, trial_id: str, result: dict[str, Any]) -> dict[str, Any]:
        # Tune passes a result without an epoch for a trial that has reported nothing.
        return result | {STEP: self._step_of(trial_id, result)} if EPOCH in result else result

    def _step_of(self, trial_id: str, row: Mapping[str, Any]) -> int:
        return step_of(row, self.max_epochs, self._epoch_cost(trial_id))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial that gets the next free process before new trials do: one that has waited for long.

        Ray chooses the first pending trial, even if a process for it is just starting on another node; Tune then ends
        that process. Where trials end more often than a process takes to start, a new node would never get a trial.
        """
        now = time.monotonic()
        pending = [trial for trial in tune_controller.get_live_trials() if trial.status == TuneTrial.PENDING]
        self._pending_since = {trial.trial_id: self._pending_since.get(trial.trial_id, now) for trial in pending}
        late = [trial for trial in pending if now - self._pending_since[trial.trial_id] > START_SECONDS]
        return min(late, key=lambda trial: self._pending_since[trial.trial_id], default=None)

    def replay(self, arrivals: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Decide on (trial_id, epoch row) again, in the given order; adds the stopped ones to ``stopped_early``."""
        live: set[str] = set()
        for trial_id, row in arrivals:
            trial = SimpleNamespace(trial_id=trial_id)
            if trial_id not in live:
                self.on_trial_add(None, trial)
                live.add(trial_id)
            if FINISHED in row:
                # Tune asks for no decision on a trial that ends by itself, but reports its end, which counts in a rung.
                # A trial that goes on with a raised maximum of epochs is decided on there by `tuning.raised_epochs`.
                self.on_trial_complete(None, trial, row)
                live.remove(trial_id)
                if self._stop_epoch(trial_id) == row[EPOCH]:
                    self.would_stop[trial_id] = self._step_of(trial_id, row)
            elif trial_id not in self.stopped_early:
                self.on_trial_result(None, trial, row)
        for trial_id in live:
            self.on_trial_remove(None, SimpleNamespace(trial_id=trial_id))


def _is_compared(row: Mapping[str, Any]) -> bool:
    """Whether a trial may be compared after this row: with folds, from the second one on only at their ends."""
    return not row.get(FOLDS_DONE) or ends_fold(row)


def asha_for(
    study: Study, *, max_epochs: int, grace_period: int, reduction_factor: int, trainings: int = 1
) -> StudyASHA:
    """Return the scheduler of a study, with the rungs that the study's epochs fill."""
    scheduler = StudyASHA(
        max_epochs=max_epochs,
        grace_period=grace_period,
        reduction_factor=reduction_factor,
        trainings=trainings,
        objective=study.objective,
        is_control=lambda trial_id: study.trials[trial_id].control,
        stop_epoch=lambda trial_id: study.trials[trial_id].stop_epoch,
        epoch_cost=lambda trial_id: trial.epoch_cost if (trial := study.trials.get(trial_id)) else 1.0,
    )
    scheduler.replay(study.reported_epochs)
    return scheduler
