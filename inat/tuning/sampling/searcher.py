"""Bayesian search with Optuna as a searcher for Ray Tune, rebuilt from the study whenever a search starts.

The life of a trial, as the searcher sees it: Tune asks for a configuration (``suggest``). The searcher hands out, in
this order, an unfinished trial of the study, a configuration of --start-from, the next configuration of a grid, or a
suggestion of the sampler that has not been tried, which a race of backbones (--preset) may fix in part. A new trial is
recorded in the study before Tune gets it. While the trial runs, the study recorder writes each epoch into the study and
calls ``on_trial_update``, which reports the epoch to Optuna. When the trial has ended, the recorder writes its final
state and calls ``on_trial_update`` again: the searcher turns the trial into a state and a value (``feedback``) and
tells them to Optuna. Of a control trial that ASHA would have stopped, it tells Optuna right then, as of a stopped
trial (``Journal.lesson_of``). When a search is resumed, the searcher adds the ended trials to Optuna as it told them
before, and hands out the running ones again.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, Self

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from inat.constants import RUNNING, TRIAL_ID
from inat.errors import ConfigError, StudyError
from inat.study.checkpoint_retention import checkpoint_threshold
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.racing.waves import WAVES, Waves, next_params
from inat.tuning.sampling.chain import Chain
from inat.tuning.sampling.control import is_control
from inat.tuning.sampling.feedback import SamplerFeedback, as_frozen_trial, feedback_for, steps_of, user_attrs_of
from inat.tuning.sampling.gains import Gains
from inat.tuning.sampling.history import MAX_LEARNED, MAX_LEARNED_BY_GP, BoundedHistory
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.prior import make_prior_sampler, prior_of
from inat.tuning.sampling.samplers import CANDIDATES, RETRY_CANDIDATES, make_sampler, sampler_for
from inat.tuning.space.domains import optuna_space
from inat.tuning.space.grid import grid_of, next_grid_params, params_key
from inat.tuning.worker.trainable import KNOWN_EPOCHS, LENGTH, SEED, THRESHOLD

# Suggestions to ask for before a random untried configuration is taken: a suggestion takes about 10 ms, a repeated
# training seconds to hours. TPE repeats a configuration only if all of its candidates have been tried; without that
# filter, every fourth suggestion on recorded curves was a repetition.
MAX_SUGGESTIONS = 2
# With a time to keep: suggestions too long for it before the search ends. A network that is too long says little about
# the next one, which may be small. Suggestions that have been tried say nothing about the time.
MAX_TOO_LONG = 8
MAX_TRIED = 8  # of those; then every configuration of the space has been tried, and one is tried again
MAX_COSTLY = 50  # networks that get too few epochs for the cost of a trial; the next suggestion may be a small one
DIRECTIONS = {"max": "maximize", "min": "minimize"}  # of Optuna, by the mode of the objective


class BudgetAwareOptunaSearch(Searcher):
    """Optuna over a study whose trials end at different epochs.

    Every suggestion depends only on the seed, the trial's number and what the study knew, so a resumed search suggests
    what the uninterrupted search would have suggested. Trials that were running when the search ended are handed out
    again first, under their own ids. ``distributions`` is the search space as Optuna has it; ``optuna_study`` is kept
    in memory and holds every trial of the study.
    """

    def __init__(self, study: Study, space: Mapping[str, Any], options: SearcherOptions) -> None:
        objective = study.objective
        super().__init__(metric=objective.best_column, mode=objective.mode)
        self.study = study
        self.distributions = optuna_space(space)
        self._chain = Chain(options.rungs, objective) if options.stopped == "chain" else None
        learned = bool(options.earlier)
        self._sampler = sampler_for(options.sampler, self.distributions, mode=objective.mode, learned=learned)
        # Optuna's Gaussian process warns whenever the optimisation of its kernel falls back to the initial values.
        optuna.logging.set_verbosity(optuna.logging.ERROR if self._sampler == "gp" else optuna.logging.WARNING)
        limit = MAX_LEARNED_BY_GP if self._sampler == "gp" else MAX_LEARNED
        self._history = BoundedHistory(limit, self._chain)
        # This sampler is replaced before each suggestion; it only serves the trials that are replayed.
        self.optuna_study = optuna.create_study(
            storage=self._history,
            direction=DIRECTIONS[objective.mode],
            sampler=RandomSampler(seed=0),
            pruner=NopPruner(),
        )
        self._options = options
        self._prior = prior_of(options.earlier, self.distributions) if self._sampler == "tpe" else None
        self._space = dict(space)
        self._running: dict[str, optuna.Trial] = {}
        self._reported_epochs: dict[str, int] = {}
        self._feedback: dict[str, SamplerFeedback] = {}
        self._gains = Gains()
        for trial in study.lessons_in_order:
            self._make_feedback(trial)
        for trial in study.trials.values():
            self._replay(trial)
        self._unfinished = study.unfinished()
        self._tried = {params_key(trial.params) for trial in study.trials.values()}
        self._grid: dict[str, Mapping[str, Any]] = {params_key(params): params for params in options.grid}
        self._start_from = list({params_key(params): params for params in options.start_from}.values())
        self.declined = False  # no further trial ends within the time of the search
        # The node where the last trial has ended: the next trial will run there.
        self._free_node = study.ended_in_order[-1].node if study.ended_in_order else ""

    # Handing out trials.

    @property
    def num_unfinished(self) -> int:
        """Number of unfinished trials that have not been handed out yet."""
        return len(self._unfinished)

    def requeue_unfinished(self) -> Self:
        """Hand out the study's unfinished trials again before new ones; none of them may be running now."""
        self._unfinished = self.study.unfinished()
        return self

    def requeue(self, trial_id: str) -> None:
        """Hand out this trial again before new ones."""
        self._unfinished.append(self.study.trials[trial_id])

    def next_trial_id(self) -> str:
        """Return the id that must be passed to the next ``suggest``."""
        return self._unfinished[0].trial_id if self._unfinished else self.study.next_trial_id

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the configuration of the trial ``next_trial_id``, with its id, seed, threshold and known epochs.

        Called by Tune for each trial that it starts. A new trial is recorded in the study. None, and ``declined``, if
        no further trial ends within the time of the search.
        """
        trial = self._unfinished.pop(0) if self._unfinished else self._create_trial(trial_id)
        if trial is None:
            return None
        assert trial.trial_id == trial_id
        equal_cost = self._options.equal_cost
        return trial.params | {
            TRIAL_ID: trial_id,
            SEED: self._seed_for(trial.number, "trial"),
            THRESHOLD: checkpoint_threshold(self.study, self._options.keep_checkpoints),
            KNOWN_EPOCHS: trial.known_epochs,
            LENGTH: {} if equal_cost is None else equal_cost.settings(trial),
        }

    def _create_trial(self, trial_id: str) -> Trial | None:
        number = len(self.study.trials)
        if number and self._options.affordable is not None:
            return self._create_affordable(trial_id, self._options.affordable)
        first = self._next_of_start(number)
        if self._options.grid and not first:
            params = next_grid_params(self._untried(), self.study.trials.values(), self._free_node)
            return self._record(trial_id, self._ask_for(params))
        fixed = first or self._next_of_race()
        for attempt in range(MAX_SUGGESTIONS):
            asked = self._ask_for(fixed, attempt) if fixed else self._ask(attempt)
            if not self._was_tried(asked.params):
                return self._record(trial_id, asked)
            # Training a configuration again would only measure the effect of another seed.
            self.optuna_study.tell(asked, state=TrialState.FAIL)
        if untried := self._untried():
            params = untried[self._seed_for(number, "sampler", MAX_SUGGESTIONS) % len(untried)]
            return self._record(trial_id, self._ask_for(params))
        return self._record(trial_id, self._ask())  # every configuration of the space has been tried

    def _create_affordable(self, trial_id: str, affordable: Callable[[Mapping[str, Any]], bool]) -> Trial | None:
        """A new trial that ends in time, of --start-from or else of the sampler; None if there is none."""
        first = self._next_of_start(len(self.study.trials))
        # Another draw of what a configuration leaves out may cost less, or be new.
        times = MAX_SUGGESTIONS if len(first) < len(self.distributions) else 1
        too_long = tried = costly = 0
        while not self.declined and too_long < MAX_TOO_LONG and costly < MAX_COSTLY:
            attempt = too_long + tried + costly
            asked = self._ask_for(first, attempt) if first and attempt < times else self._ask(attempt)
            repeated = tried < MAX_TRIED and self._was_tried(asked.params)
            too_costly = not repeated and self._is_too_costly(asked.params)
            if not repeated and not too_costly and affordable(asked.params):
                return self._record(trial_id, asked)
            self.optuna_study.tell(asked, state=TrialState.FAIL)
            tried, costly = tried + repeated, costly + too_costly
            too_long += not repeated and not too_costly
        self.declined = True
        return None

    def _is_too_costly(self, params: Mapping[str, Any]) -> bool:
        equal_cost = self._options.equal_cost
        return equal_cost is not None and not equal_cost.is_trained(params)

    def _ask(self, attempt: int = 0) -> optuna.Trial:
        seed = self._seed_for(len(self.study.trials), "sampler", attempt)
        choice = (seed, self.distributions, self._was_tried, CANDIDATES if attempt == 0 else RETRY_CANDIDATES)
        if self._prior is None:
            self.optuna_study.sampler = make_sampler(self._sampler, *choice)
        else:
            self.optuna_study.sampler = make_prior_sampler(self._prior, *choice)
        return self.optuna_study.ask(self.distributions)

    def _next_of_start(self, number: int) -> Mapping[str, Any]:
        """The configuration of --start-from, or near the recipe, for trial ``number``; empty after the last of them."""
        return self._start_from[number] if number < len(self._start_from) else {}

    def _next_of_race(self) -> Mapping[str, Any]:
        """The hyperparameters that a race chooses for the next trial; empty without a race."""
        if self._options.race is None:
            return {}
        trials = [self.study.lesson_of(trial) or trial for trial in self.study.trials.values()]
        return next_params(Waves.from_json(self._options.race[WAVES]), self._space, trials, self.study.objective)

    def _ask_for(self, params: Mapping[str, Any], attempt: int = 0) -> optuna.Trial:
        """Ask for these hyperparameters; the sampler draws the ones that ``params`` leaves out."""
        self.optuna_study.enqueue_trial(dict(params))
        return self._ask(attempt)

    def _record(self, trial_id: str, asked: optuna.Trial) -> Trial:
        self._running[trial_id] = asked
        self._tried.add(params_key(asked.params))
        control = is_control(self._options.seed, len(self.study.trials), self._options.control_fraction)
        equal_cost = self._options.equal_cost
        cost = 1.0 if equal_cost is None else equal_cost.epoch_cost(asked.params)
        return self.study.add_trial(asked.params, control, cost)

    def _was_tried(self, params: Mapping[str, Any]) -> bool:
        return params_key(params) in self._tried

    def _untried(self) -> list[Mapping[str, Any]]:
        """List the configurations that no trial has; empty if the space has a range or too many configurations."""
        if not self._grid:
            with suppress(ConfigError):
                self._grid = {params_key(params): params for params in grid_of(self._space)}
        return [params for key, params in self._grid.items() if key not in self._tried]

    def _seed_for(self, number: int, purpose: Literal["sampler", "trial"], attempt: int = 0) -> int:
        """Derive an independent seed from the study's seed, the trial's number, the purpose and the attempt."""
        entropy = (self._options.seed, number, ("sampler", "trial").index(purpose), attempt)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    # Learning from trials.

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: Tune does not pass on the report that ends a trial; ``on_trial_update`` gets every epoch."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: Tune does not say why a trial ended; ``on_trial_update`` follows and reads it from the study."""

    def on_trial_update(self, trial: Trial) -> None:
        """Tell Optuna the new epochs of a trial, and its end.

        Called by the study recorder after each change of a trial in the study. Updates that Optuna already knows, and
        trials that this searcher did not hand out, are ignored.
        """
        if trial.control and trial.state != RUNNING:
            self._free_node = trial.node
        if trial.trial_id not in self._running:
            return
        self._report_epochs(trial)
        lesson = self.study.lesson_of(trial)
        self._learn(lesson or trial, self._running[trial.trial_id].number)
        if lesson is None:
            return
        asked = self._running.pop(trial.trial_id)
        if trial.state != RUNNING:
            self._free_node = trial.node
        feedback = self._make_feedback(lesson)
        for name, value in user_attrs_of(lesson, self._options.rungs).items():
            asked.set_user_attr(name, value)
        self.optuna_study.tell(asked, feedback.value, feedback.state)

    def _learn(self, trial: Trial, number: int) -> None:
        if self._chain is not None:
            self._chain.update(trial, number)

    def _report_epochs(self, trial: Trial) -> None:
        for step, value in steps_of(trial).items():
            # A trial that went back to a checkpoint repeats epochs; Optuna warns of a repeated report.
            if step > self._reported_epochs.get(trial.trial_id, 0):
                self._reported_epochs[trial.trial_id] = step
                self._running[trial.trial_id].report(value, step)

    def _make_feedback(self, trial: Trial) -> SamplerFeedback:
        feedback = feedback_for(trial, self._gains, self._options.stopped)
        self._feedback[trial.trial_id] = feedback
        self._gains.add(trial)
        return feedback

    def to_frozen_trial(self, trial: Trial) -> FrozenTrial:
        """Convert an ended trial into the FrozenTrial that Optuna has after ``on_trial_update``."""
        trial = self.study.lesson_of(trial) or trial
        feedback = self._feedback.get(trial.trial_id) or self._make_feedback(trial)
        return as_frozen_trial(trial, feedback, self.distributions, self._options.rungs)

    # Resuming.

    def _replay(self, trial: Trial) -> None:
        """Give Optuna a trial of an earlier run of the search; called in order of number, as that run did."""
        try:
            self._add_to_optuna(trial)
        except (ValueError, TypeError, KeyError, OverflowError) as error:  # of Optuna
            raise StudyError(
                f"{trial.trial_id} of {self.study.directory} does not fit the search space ({error}); restore its "
                "journal from a copy, or start a new study"
            ) from error

    def _add_to_optuna(self, trial: Trial) -> None:
        lesson = self.study.lesson_of(trial)
        if lesson is not None:
            self._learn(lesson, self._history.next_number)
            self.optuna_study.add_trial(self.to_frozen_trial(trial))
            return
        if others := sorted(trial.params.keys() - self.distributions.keys()):
            raise KeyError(", ".join(others))  # the trial would run with them
        self.optuna_study.enqueue_trial(trial.params)
        asked = self._running[trial.trial_id] = self.optuna_study.ask(self.distributions)
        self._report_epochs(trial)
        self._learn(trial, asked.number)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the study directory is the searcher's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see ``save``."""
