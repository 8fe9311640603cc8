"""The journal of a study, read back into trials.

``journal.jsonl`` has one line per event, in the order of the events: "trial" (a new trial and its hyperparameters),
"epoch" (one epoch's metrics), "end" (a trial's final state), "retry" (a failed trial begins again; only its latest
attempt counts) and "raised" (the maximum of the epochs was raised while a trial stood at the former one: it goes on, or
counts as stopped). It can be read while a search is writing it.
"""

import math
from bisect import insort
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from inat.config.objective import ACCURACY, Objective, objective_of
from inat.constants import (
    COMPLETED,
    CONTROL,
    EPOCH,
    EPOCH_COST,
    FAILED,
    JOURNAL,
    MAX_EPOCHS_REACHED,
    RUNNING,
    STOPPED,
    TRIAL_ID,
    TRIALS_CSV,
    WOULD_STOP,
)
from inat.errors import StudyError
from inat.study.atomic_io import mend_hint, read_json_lines
from inat.study.events import UnfitEventError, check_event, trial_id_of
from inat.study.metadata import read_info
from inat.study.trial import Trial

UNFIT = (KeyError, TypeError, ValueError, AttributeError, OverflowError)  # raised for an event that does not fit


class Journal:
    """The trials of a study, built from its events in order; ``objective`` decides which of them is the best."""

    def __init__(self, objective: Objective = ACCURACY) -> None:
        self.objective = objective
        self.trials: dict[str, Trial] = {}
        self._reported_epochs: list[tuple[str, dict[str, Any]]] = []
        self._ended_in_order: list[Trial] = []
        # What the sampler learns, in order: of an ended trial its end, of a control trial its lesson (``lesson_of``).
        self._lessons: dict[str, Trial] = {}
        self._folded = False
        # (-folds, -sign * best value, number, trial): numbers are unique, so sorting never compares two trials.
        self._ranked: list[tuple[int, float, int, Trial]] = []

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the journal of a study as it is now, without locking the study; a search may be writing it.

        Empty for a study without a trial. Raises StudyError if this file or study.json is damaged or missing.
        """
        journal = cls(objective_of(read_info(directory)))
        try:
            journal.replay(directory / JOURNAL, growing=True)
        except FileNotFoundError as error:
            if (directory / TRIALS_CSV).exists():
                raise StudyError(f"{directory} has no {JOURNAL}; copy the whole study again") from error
        return journal

    @property
    def reported_epochs(self) -> list[tuple[str, dict[str, Any]]]:
        """All epochs of all trials, as (trial_id, row), in the order in which they were reported."""
        return list(self._reported_epochs)

    @property
    def ended_in_order(self) -> list[Trial]:
        """Ended trials in the order in which they ended; see ``ended`` for the order of number."""
        return list(self._ended_in_order)

    @property
    def lessons_in_order(self) -> list[Trial]:
        """What a sampler has learned of, in that order: ended trials, and control trials as ``lesson_of`` has them."""
        return list(self._lessons.values())

    def lesson_of(self, trial: Trial) -> Trial | None:
        """The trial as a sampler learns of it; None if it has nothing to learn yet.

        That is the ended trial, but of a control trial that ASHA would have stopped the trial as it was then, stopped:
        the choice of control trials must not change what is suggested.
        """
        return self._lessons.get(trial.trial_id)

    @property
    def parameters(self) -> list[str]:
        """Names of the hyperparameters, in the order in which they first appear."""
        return list(dict.fromkeys(name for trial in self.trials.values() for name in trial.params))

    @property
    def next_trial_id(self) -> str:
        """The id that the next new trial will get: "t" and its number, in four digits or more."""
        return trial_id_of(len(self.trials))

    def new_trial(
        self,
        trial_id: str,
        number: int,
        params: dict[str, Any],
        created: str,
        control: bool = False,
        epoch_cost: float = 1.0,
    ) -> Trial:
        """Make a trial with the objective of the study; it is not added to ``trials``."""
        named: dict[str, Any] = {"objective": self.objective, "control": control, "epoch_cost": epoch_cost}
        return Trial(trial_id, number, params, created, **named)

    def ended(self) -> list[Trial]:
        """Return the ended trials (completed, stopped or failed) in order of number."""
        return [trial for trial in self.trials.values() if trial.state != RUNNING]

    def unfinished(self) -> list[Trial]:
        """Return the trials without a final state, in order of number."""
        return [trial for trial in self.trials.values() if trial.state == RUNNING]

    @property
    def num_ended(self) -> int:
        """The number of ended trials."""
        return len(self._ended_in_order)

    @property
    def folded(self) -> bool:
        """Whether trials train several times, once per fold and repeat."""
        return self._folded

    def ranking(self, count: int | None = None) -> list[Trial]:
        """Return the ended trials with a result, without failed ones: best first, equal ones in order of number.

        Only the first ``count``, if it is given.
        With folds, a trial with more of them ranks before one with fewer: others were better after as many, or ASHA
        would not have stopped it, and the mean over few folds is the luckier one.
        """
        return [trial for *_, trial in self._ranked[:count]]

    def rank(self, folds_done: int, value: float) -> tuple[int, float]:
        """Return the key by which ``ranking`` sorts a trial with this best value, better ones first."""
        return -folds_done, -self.objective.sign * value

    def best(self) -> Trial | None:
        """Return the first trial of ``ranking``; None without one."""
        return self._ranked[0][-1] if self._ranked else None

    def replay(self, path: Path, growing: bool = False) -> None:
        """Apply all events in a journal file.

        With ``growing``, for a file that another process is writing, a last line without a line break is left out.
        An event that the file has twice counts once. Raises StudyError for a damaged line and for an event that
        contradicts the events before it.
        """
        for number, event in enumerate(read_json_lines(path, growing), start=1):
            try:
                self.apply(event)
            except UNFIT as error:
                raise StudyError(f"{path} is damaged: line {number} does not fit; {mend_hint(path)}") from error

    def apply(self, event: dict[str, Any]) -> None:
        """Apply one event; one of the errors in UNFIT if it does not fit."""
        check_event(event, self.objective)
        trial = self.trials.get(event[TRIAL_ID])
        if event["event"] == "trial":
            known = (event["number"], event["params"], event["created"], bool(event.get(CONTROL, 0)))
            self._add(trial, self.new_trial(event[TRIAL_ID], *known, event.get(EPOCH_COST, 1.0)))
        elif trial is None:
            raise UnfitEventError(event[TRIAL_ID])
        elif event["event"] == "epoch":
            if trial.has_row(event["row"]):
                return
            self._add_epoch(trial, event["row"], event["node"])
        elif event["event"] == "retry":
            self._retry(trial, event["attempt"], event["created"])
        elif event["event"] == "raised":
            self._raise(trial, event["epoch"], event["max_epochs"], event["state"], bool(event.get(WOULD_STOP)))
        elif trial.state == RUNNING:
            self._end(trial, event["state"], event["error"])
        elif (trial.state, trial.error) != (event["state"], event["error"]):
            raise UnfitEventError(f"{trial.trial_id} has ended twice")

    def _add(self, known: Trial | None, new: Trial) -> None:
        if known is None:
            if new.number != len(self.trials):
                raise UnfitEventError(f"{new.trial_id} is number {new.number}")
            self.trials[new.trial_id] = new
        elif (known.number, known.params, known.created) != (new.number, new.params, new.created):
            raise UnfitEventError(f"{new.trial_id} has begun twice")

    def _add_epoch(self, trial: Trial, row: dict[str, Any], node: str) -> None:
        trial.add_epoch(row)
        trial.node = node or trial.node
        self._folded = self._folded or trial.folded
        self._reported_epochs.append((trial.trial_id, row))
        if row.get(WOULD_STOP) and trial.stop_epoch is None:
            trial.stop_epoch = int(row[EPOCH])
            self._lessons[trial.trial_id] = _as_stopped(trial)

    def _retry(self, trial: Trial, attempt: int, created: str) -> None:
        if (trial.attempt, trial.created) == (attempt, created):
            return  # the journal has the line twice
        if trial.state != FAILED or attempt != trial.attempt + 1:
            raise UnfitEventError(f"{trial.trial_id} is {trial.state} in attempt {trial.attempt}")
        if trial.history:
            self._reported_epochs = [pair for pair in self._reported_epochs if pair[0] != trial.trial_id]
        self._ended_in_order.remove(trial)
        self._lessons.pop(trial.trial_id, None)
        trial.begin_again(attempt, created)
        self._folded = any(other.folded for other in self.trials.values())

    def _raise(self, trial: Trial, epoch: int, max_epochs: int, state: str, would_stop: bool) -> None:
        if (epoch, max_epochs) in trial.raised:
            return  # the journal has the line twice
        stands = (trial.state, trial.finished, trial.epochs) == (COMPLETED, MAX_EPOCHS_REACHED, epoch)
        if not stands or max_epochs <= epoch:
            raise UnfitEventError(f"{trial.trial_id} is {trial.state} at epoch {trial.epochs}")
        trial.raised = (*trial.raised, (epoch, max_epochs))
        if state == STOPPED:
            trial.state = STOPPED
            return
        # Until it ends again, its result at the former maximum is the one that counts.
        former = replace(trial, history=list(trial.history))
        self._ranked = [(*key, former if known is trial else known) for *key, known in self._ranked]  # type: ignore[misc]
        self._ended_in_order.remove(trial)
        trial.go_on(would_stop)
        if would_stop:
            self._lessons[trial.trial_id] = _as_stopped(trial)
        elif trial.stop_epoch is None:  # else the sampler keeps what it has learned of a control trial
            self._lessons.pop(trial.trial_id, None)

    def _end(self, trial: Trial, state: str, error: str) -> None:
        if trial.raised:
            self._ranked = [entry for entry in self._ranked if entry[-1].trial_id != trial.trial_id]
        trial.state, trial.error = state, error
        self._ended_in_order.append(trial)
        self._lessons.setdefault(trial.trial_id, trial)
        best = trial.best_value
        if state != FAILED and best is not None and math.isfinite(best):
            insort(self._ranked, (*self.rank(trial.folds_done, best), trial.number, trial))


def _as_stopped(trial: Trial) -> Trial:
    """A control trial as ASHA would have stopped it, after ``stop_epoch``."""
    last = trial.stop_epoch or trial.epochs
    return replace(trial, state=STOPPED, history=[row for row in trial.history if row[EPOCH] <= last])
