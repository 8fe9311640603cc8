"""The life of a trial.

A trial begins when the searcher suggests a configuration and the study gives it an id (``Study.add_trial``).
``ray_backend.trials`` hands the trial to Tune, Tune places it (``ray_backend.placement``), and a worker process trains
it (``worker.trainable``) and reports each epoch. ``StudyRecorder`` passes epochs and ends to ``TrialLifecycle``, which
writes them to the study and calls the callbacks: searcher, limits, progress, study.db, W&B. A trial ends in one of four
ways: it ends by itself (last epoch, out of patience, diverged) and is ``completed``; ASHA or the user stops it and it
is ``stopped``; it reaches the target and is ``completed``; or it fails, runs again from its last checkpoint as
often as ``ray_backend.retries`` allows, and is ``failed`` after that. A trial that hangs is ended by
``ray_backend.hang_monitor`` and then fails like any other. If the search stops before the trial
ends (a signal, a limit, a write error, the death of the driver), the trial stays ``running`` in the journal: a resumed
search ends it if its last epoch was its end (``finish_interrupted``), else it runs again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from analysis.wording import counted
from inat.constants import COMPLETED, DIVERGED, FAILED, MICRO_BATCH, NOTE, RUNNING, STOPPED
from inat.errors import DiskFullError, StudyError
from inat.study.atomic_io import disk_full_error, resume_hint
from inat.study.checkpoint_retention import prune_checkpoints
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.ray_backend.asha import StudyASHA
from inat.tuning.ray_backend.error_texts import HUNG, reason_of
from inat.tuning.ray_backend.hang_monitor import has_hung

TrialCallback = Callable[[Trial], object]


class TrialLifecycle:
    """Writes epochs and ends of trials to the study, removes checkpoints, and calls ``callbacks`` with each change.

    Tune would wrap an error of its callback in one of its own, or call again. So an error while writing is kept in
    ``error``, nothing more is written, and the search has to stop (``stoppers.StopAtWriteError``).
    """

    def __init__(
        self, study: Study, scheduler: StudyASHA, keep_checkpoints: int, callbacks: Sequence[TrialCallback]
    ) -> None:
        self.study = study
        self.error: Exception | None = None
        self._scheduler = scheduler
        self._keep_checkpoints = keep_checkpoints
        self._callbacks = callbacks

    def add_epochs(self, trial_id: str, rows: Iterable[Mapping[str, Any]], node: str) -> None:
        """Record epochs of a running trial; rows that arrive after its end are dropped."""
        with self._writing(trial_id) as allowed:
            for row in rows if allowed else ():
                if self.study.add_epoch(trial_id, self._scheduler.as_recorded(trial_id, row), node=node):
                    self._call_back(trial_id)

    def end(self, trial_id: str) -> None:
        """Record that a trial ended without an exception: by itself, or stopped by ASHA or the user."""
        self._end(trial_id, *outcome_of(self.study.trials[trial_id], self._scheduler))

    def fail(self, trial_id: str, failure: str, requeue: Callable[[], bool]) -> None:
        """Record the failure of a trial that Tune gave up; the trial stays unfinished if ``requeue`` returns True."""
        with self._writing(trial_id) as allowed:
            if not allowed:
                return
            if DiskFullError.__name__ in failure:
                raise disk_full_error(self.study.directory)  # this trial and the others go on after a resume
            self.study.write_failure(trial_id, failure)
            if requeue():
                return
        self._end(trial_id, FAILED, HUNG if has_hung(self.study.directory, trial_id) else reason_of(failure))

    def end_at_target(self, reached: Callable[[Trial], bool]) -> None:
        """End the running trials that have reached the target."""
        for trial in self.study.unfinished():
            if reached(trial):
                self._end(trial.trial_id, COMPLETED, f"ended at the target {self.study.objective.short}")

    def _end(self, trial_id: str, state: str, error: str) -> None:
        with self._writing(trial_id) as allowed:
            if allowed:
                self.study.end_trial(trial_id, state, error)
                prune_checkpoints(self.study, self._keep_checkpoints)
                self._call_back(trial_id)

    def _call_back(self, trial_id: str) -> None:
        for callback in self._callbacks:
            callback(self.study.trials[trial_id])

    @contextmanager
    def _writing(self, trial_id: str) -> Iterator[bool]:
        """Keep an error of the body in ``error``; yields False for an ended trial and after an error."""
        try:
            yield self.error is None and self.study.trials[trial_id].state == RUNNING
        except OSError as error:
            self.error = StudyError(
                f"{self.study.directory} cannot be written ({error.strerror or error}); nothing is lost. Fix the "
                f"cause, then {resume_hint(self.study.directory, self.study.directory)}"
            )
        except Exception as error:
            self.error = error


def outcome_of(trial: Trial, scheduler: StudyASHA) -> tuple[str, str]:
    """Return the state and the remark of a trial that ended without an exception."""
    if trial.best_value is None:
        return FAILED, "ended without reporting an epoch"
    state = STOPPED if trial.trial_id in scheduler.stopped_early else COMPLETED
    remarks = [f"diverged at epoch {trial.epochs}"] if trial.finished == DIVERGED else []
    if trial.trial_id in scheduler.ended_by_user:
        remarks.append(f"stopped by the user after {counted(trial.epochs, 'epoch')}")
    if note := trial.history[-1].get(NOTE):
        remarks.append(note)
    if micro_batch := trial.history[-1].get(MICRO_BATCH):
        remarks.append(f"in micro-batches of {micro_batch}: the device has too little memory for whole ones")
    return state, "; ".join(remarks)


def finish_interrupted(study: Study, scheduler: StudyASHA) -> None:
    """End the trials whose last epoch was their end, but whose end a killed driver could not write."""
    for trial in study.unfinished():
        if trial.finished or trial.trial_id in scheduler.stopped_early:
            study.end_trial(trial.trial_id, *outcome_of(trial, scheduler))
