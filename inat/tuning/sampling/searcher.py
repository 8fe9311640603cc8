"""Bayesian search with Optuna through Ray Tune, rebuilt from the study whenever a search starts."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search.optuna import OptunaSearch

from inat.constants import BEST_VAL_ACC, EPOCH, EPOCHS, METRIC, MODE, RUNG, RUNNING, STATE, TRIAL_ID
from inat.errors import ConfigError
from inat.study.checkpoint_retention import checkpoint_threshold
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.sampling.feedback import Rungs, SamplerFeedback, StoppedPolicy, feedback_for
from inat.tuning.sampling.samplers import CANDIDATES, MORE_CANDIDATES, SamplerName, make_sampler
from inat.tuning.space.grid import grid_of, identity, next_of_grid
from inat.tuning.worker.trainable import SEED, THRESHOLD

# Suggestions before a random choice is taken: choosing anew costs 10 ms, a repeated training seconds to hours. Our TPE
# names what was tried only where all of its candidates were; Optuna's own did so every fourth time on recorded curves.
TRIES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SearcherOptions:
    """How to search: sampler, what a stopped trial teaches, configurations that are tried before all others."""

    rungs: Rungs
    seed: int = 0
    sampler: SamplerName = "tpe"
    stopped: StoppedPolicy = "extrapolate"
    keep_checkpoints: int = 5
    start_from: Sequence[Mapping[str, Any]] = ()
    grid: Sequence[Mapping[str, Any]] = ()
    """If there are any, these are searched instead of what the sampler suggests."""


class BudgetAwareOptunaSearch(OptunaSearch):
    """Optuna over a study whose trials end at different epochs.

    Every suggestion is a function of the seed, the trial's number and what the study knew, so a resumed search asks
    what the uninterrupted one would have asked. Trials that were running when the study was left are handed out again
    first, under their own ids. Tune does not tell a searcher why a trial ended: ``hear`` learns it from the study,
    once the trial's end stands there.
    """

    def __init__(self, study: Study, space: Mapping[str, Any], options: SearcherOptions) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        super().__init__(space=self.convert_search_space(dict(space)), metric=METRIC, mode=MODE)
        self.study = study
        self._options = options
        self._reported: dict[str, int] = {}
        self._feedback: dict[str, SamplerFeedback] = {}
        for trial in study.endings:
            self._make_feedback(trial)
        for trial in study.trials.values():
            self._recall(trial)
        self._unfinished = study.unfinished()
        self._tried = {identity(trial.params) for trial in study.trials.values()}
        self._choices = dict(space)
        self._grid: dict[str, Mapping[str, Any]] = {identity(params): params for params in options.grid}
        self._start_from = list({identity(params): params for params in options.start_from}.values())
        # The machine that will run the next trial: where one has just ended.
        self._freed = study.endings[-1].node if study.endings else ""

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions."""
        return dict(self._space)

    @property
    def waiting(self) -> int:
        """Unfinished trials of the study that have not been handed out yet."""
        return len(self._unfinished)

    def start_over(self) -> Self:
        """Hand out the study's unfinished trials, of which none is running now, before new ones."""
        self._unfinished = self.study.unfinished()
        return self

    def requeue(self, trial_id: str) -> None:
        """See TrialSource."""
        self._unfinished.append(self.study.trials[trial_id])

    def next_trial_id(self) -> str:
        """The id under which the next suggestion will be run."""
        return self._unfinished[0].trial_id if self._unfinished else f"t{len(self.study.trials):04d}"

    def suggest(self, trial_id: str) -> dict[str, Any]:
        trial = self._unfinished.pop(0) if self._unfinished else self._ask(trial_id)
        assert trial.trial_id == trial_id
        return trial.params | {
            TRIAL_ID: trial_id,
            SEED: self._seed_of(trial.number, "trial"),
            THRESHOLD: checkpoint_threshold(self.study, self._options.keep_checkpoints),
        }

    def _ask(self, trial_id: str) -> Trial:
        number, wanted = len(self.study.trials), self._start_from
        if number < len(wanted):
            return self._add(trial_id, wanted[number])
        if self._options.grid:
            return self._add(trial_id, next_of_grid(self._untried(), self.study.trials.values(), self._freed))
        for attempt in range(TRIES):
            params = self._sample(trial_id, attempt)
            if not self._known(params):
                return self._new_trial(params)
            # A choice that was trained already would spend a trial on the luck of another seed.
            self._ot_study.tell(self._ot_trials.pop(trial_id), state=TrialState.FAIL)
        if untried := self._untried():
            return self._add(trial_id, untried[self._seed_of(number, "sampler", TRIES) % len(untried)])
        return self._new_trial(self._sample(trial_id, 0))  # the space is used up

    def _untried(self) -> list[Mapping[str, Any]]:
        """Choices that no trial has had; none if they are too many to be listed, or the space has a range."""
        if not self._grid:
            with suppress(ConfigError):
                self._grid = {identity(params): params for params in grid_of(self._choices)}
        return [params for name, params in self._grid.items() if name not in self._tried]

    def _add(self, trial_id: str, wanted: Mapping[str, Any]) -> Trial:
        self._ot_study.enqueue_trial(dict(wanted))
        return self._new_trial(self._sample(trial_id, 0))

    def _new_trial(self, params: dict[str, Any]) -> Trial:
        self._tried.add(identity(params))
        return self.study.add_trial(params)

    def _sample(self, trial_id: str, attempt: int) -> dict[str, Any]:
        seed = self._seed_of(len(self.study.trials), "sampler", attempt)
        candidates = CANDIDATES if attempt == 0 else MORE_CANDIDATES
        self._ot_study.sampler = make_sampler(self._options.sampler, seed, self._space, self._known, candidates)
        params: dict[str, Any] = super().suggest(trial_id)
        return params

    def _known(self, params: Mapping[str, Any]) -> bool:
        return identity(params) in self._tried

    def _seed_of(self, number: int, purpose: Literal["sampler", "trial"], attempt: int = 0) -> int:
        """A seed of its own for each purpose, trial, attempt and study seed; neighbouring ones share nothing."""
        entropy = (self._options.seed, number, ("sampler", "trial").index(purpose), attempt)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: Tune keeps back the report that ends a trial; ``hear`` learns all of them from the study."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: ``hear`` comes right behind, and knows how the trial ended."""

    def hear(self, trial: Trial) -> None:
        """Tell Optuna what is new about a trial: epochs, and its end. Unknown and known news do no harm."""
        if trial.trial_id not in self._ot_trials:
            return
        self._pass_on_epochs(trial)
        if trial.state == RUNNING:
            return
        asked = self._ot_trials.pop(trial.trial_id)
        self._freed = trial.node
        lesson = self._make_feedback(trial)
        for name, value in attributes(trial, self._options.rungs).items():
            asked.set_user_attr(name, value)
        self._ot_study.tell(asked, lesson.value, lesson.state)

    def _pass_on_epochs(self, trial: Trial) -> None:
        for row in trial.history:
            new = row[EPOCH] > self._reported.get(trial.trial_id, 0)  # one set back to a checkpoint repeats itself
            if new and math.isfinite(row[METRIC]):
                self._reported[trial.trial_id] = row[EPOCH]
                self._ot_trials[trial.trial_id].report(row[METRIC], row[EPOCH])

    def as_optuna(self, trial: Trial) -> FrozenTrial:
        """An ended trial in Optuna's terms, as this searcher learned it."""
        lesson = self._feedback.get(trial.trial_id) or self._make_feedback(trial)
        steps = {int(row[EPOCH]): float(row[METRIC]) for row in trial.history if math.isfinite(row[METRIC])}
        value = lesson.value
        if lesson.state == TrialState.PRUNED:
            value = steps[max(steps)] if steps else None  # as Optuna's tell does it
        return create_trial(
            state=lesson.state,
            value=value,
            params=trial.params,
            distributions=self._space,
            intermediate_values=steps,
            user_attrs=attributes(trial, self._options.rungs),
        )

    def _make_feedback(self, trial: Trial) -> SamplerFeedback:
        before = (known for known in self.study.endings if known.trial_id in self._feedback)
        lesson = feedback_for(trial, before, self._options.stopped)
        self._feedback[trial.trial_id] = lesson
        return lesson

    def _recall(self, trial: Trial) -> None:
        """Give Optuna a trial of an earlier search, in order of number as that search did."""
        if trial.state != RUNNING:
            self._ot_study.add_trial(self.as_optuna(trial))
            return
        self._ot_study.enqueue_trial(trial.params)
        self._ot_trials[trial.trial_id] = self._ot_study.ask(self._space)
        self._pass_on_epochs(trial)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study directory is the searcher's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see ``save``."""


def attributes(trial: Trial, rungs: Rungs) -> dict[str, Any]:
    """What stands beside a trial's value in Optuna: its raw accuracy, epochs, rung and state."""
    return {
        TRIAL_ID: trial.trial_id, STATE: trial.state, BEST_VAL_ACC: trial.best_val_acc, EPOCHS: trial.epochs,
        RUNG: rungs.rung_of(trial.epochs),
    }  # fmt: skip
