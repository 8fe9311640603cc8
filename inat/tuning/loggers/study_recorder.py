"""Tune's callback that writes the study while the search runs."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial as TuneTrial

from inat.constants import (
    COMPLETED,
    DIVERGED,
    EPOCHS_BEFORE,
    ERRORS_DIR,
    FAILED,
    HANG_SUFFIX,
    MICRO_BATCH,
    NOTE,
    RUNNING,
    STOPPED,
)
from inat.errors import DiskFullError, StudyError
from inat.study.atomic_io import disk_full_error, resume_hint
from inat.study.checkpoint_retention import prune_checkpoints
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.ray_backend.asha import StudyASHA
from inat.tuning.ray_backend.trials import free_retries, is_permanent, last_failure, reason_of

TrialCallback = Callable[[Trial], object]
HUNG = "no epoch within --trial-timeout"


class StudyRecorder(Callback):
    """Writes epochs and ends into the study, keeps its checkpoints few, and tells ``listeners`` what changed.

    Tune would wrap an error of a callback in its own, or call again. So what cannot be written is kept in ``error``,
    nothing more is written, and the search is to stop (``StopAtError``).
    """

    def __init__(
        self,
        study: Study,
        scheduler: StudyASHA,
        keep_checkpoints: int,
        listeners: list[TrialCallback],
        max_failures: int = 0,
    ) -> None:
        self._study = study
        self._max_failures = max_failures
        self._lost: Counter[str] = Counter()  # processes of each trial, and
        self._spared: Counter[str] = Counter()  # those that went with their machines
        self._scheduler = scheduler
        self._keep = keep_checkpoints
        self._listeners = listeners
        self.error: Exception | None = None
        self.requeue: Callable[[str], object] = lambda trial_id: None  # what Tune gave up

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        with self._writing(trial.trial_id) as may:
            for row in (*result.get(EPOCHS_BEFORE, ()), result) if may else ():
                self._study.add_epoch(trial.trial_id, row, node=str(result.get("hostname", "")))
                self._tell(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self.end(trial.trial_id, *outcome(self._study.trials[trial.trial_id], self._scheduler))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        failure = last_failure(trial)
        with self._writing(trial.trial_id) as may:
            if not may:
                return
            if DiskFullError.__name__ in failure:
                raise disk_full_error(self._study.directory)  # this trial and the others go on after a resume
            self._study.write_failure(trial.trial_id, failure)
            if not is_permanent(failure) and self._never_started(trial, failure):
                self.requeue(trial.trial_id)
                return
        self.end(trial.trial_id, FAILED, HUNG if self._hung(trial.trial_id) else reason_of(failure))

    @contextmanager
    def _writing(self, trial_id: str) -> Iterator[bool]:
        """Keeps what goes wrong; False for a trial that has ended, and once something went wrong."""
        try:
            yield self.error is None and self._study.trials[trial_id].state == RUNNING
        except OSError as error:
            self.error = StudyError(
                f"{self._study.directory} cannot be written ({error.strerror or error}); what is in it is kept: mend "
                f"that, then {resume_hint(self._study.directory, self._study.directory)}"
            )
        except Exception as error:
            self.error = error

    def _hung(self, trial_id: str) -> bool:
        """Whether a watchdog wrote down where the trial was; its file is there, but empty, while a trial runs."""
        path = self._study.directory / ERRORS_DIR / f"{trial_id}{HANG_SUFFIX}"
        return path.exists() and path.stat().st_size > 0

    def _never_started(self, trial: TuneTrial, failure: str) -> bool:
        """Whether the trial stays unfinished, to be run again: its process died between two trials.

        Tune tries a running trial again, but gives up one that it was just handing to a process it reuses.
        """
        if self._spared[trial.trial_id] < free_retries(failure):
            self._spared[trial.trial_id] += 1
        else:
            self._lost[trial.trial_id] += 1
        tried = trial.run_metadata.num_failures
        return tried <= self._max_failures and self._lost[trial.trial_id] <= self._max_failures

    def end(self, trial_id: str, state: str, error: str) -> None:
        """Record a trial's end, once."""
        with self._writing(trial_id) as may:
            if may:
                self._study.end_trial(trial_id, state, error)
                prune_checkpoints(self._study, self._keep)
                self._tell(trial_id)

    def _tell(self, trial_id: str) -> None:
        for listener in self._listeners:
            listener(self._study.trials[trial_id])


class StopAtError(Stopper):
    """Ends the search whose recorder could not write."""

    def __init__(self, recorder: StudyRecorder) -> None:
        self._recorder = recorder

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._recorder.error is not None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its stopper into a snapshot that we never read


def outcome(trial: Trial, scheduler: StudyASHA) -> tuple[str, str]:
    """State and remark of a trial that ended without an exception."""
    if trial.best_val_acc is None:
        return FAILED, "ended without reporting an epoch"
    state = STOPPED if trial.trial_id in scheduler.stopped_early else COMPLETED
    remarks = [f"diverged at epoch {trial.epochs}"] if trial.finished == DIVERGED else []
    if note := trial.history[-1].get(NOTE):
        remarks.append(note)
    if micro_batch := trial.history[-1].get(MICRO_BATCH):
        remarks.append(f"in micro-batches of {micro_batch}: the device has too little memory for whole ones")
    return state, "; ".join(remarks)


def finish_interrupted(study: Study, scheduler: StudyASHA) -> None:
    """End those trials whose last epoch was their end, but whose end a killed driver could not write down."""
    for trial in study.unfinished():
        if trial.finished or trial.trial_id in scheduler.stopped_early:
            study.end_trial(trial.trial_id, *outcome(trial, scheduler))
