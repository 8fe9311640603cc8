"""Bayesian search with Optuna's TPE through Ray Tune, rebuilt from the study whenever a search starts."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec
from ray.tune.search import ConcurrencyLimiter, SearchGenerator
from ray.tune.search.optuna import OptunaSearch

from inat.constants import EPOCH, EPOCHS, FAILED, METRIC, MODE, RUNNING, STATE, TRIAL_ID
from inat.results import Study
from inat.trials import Trial
from inat.tuning.retention import threshold_of
from inat.tuning.trainable import SEED, THRESHOLD

STARTUP_TRIALS = 10  # random ones before the model is trusted; Optuna's own default


class StudySearch(OptunaSearch):
    """Optuna's TPE over a study.

    Every suggestion is a function of the seed, the trial's number and what the study knew, so a resumed search asks
    what the uninterrupted one would have asked. Trials that were running when the study was left are handed out again
    first, under their own ids. Optuna sees failed trials as FAIL and all others as COMPLETE with their best accuracy;
    state and epochs stand beside it as attributes.
    """

    def __init__(self, study: Study, space: Mapping[str, Any], seed: int, keep_checkpoints: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        super().__init__(space=self.convert_search_space(dict(space)), metric=METRIC, mode=MODE)
        self.study = study
        self._seed = seed
        self._keep_checkpoints = keep_checkpoints
        self._reported: dict[str, int] = {}
        for trial in study.trials.values():
            self._learn(trial)
        self._unfinished = study.unfinished()

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna's distributions."""
        return dict(self._space)

    @property
    def waiting(self) -> int:
        """Unfinished trials of the study that have not been handed out yet."""
        return len(self._unfinished)

    def next_trial_id(self) -> str:
        """The id under which the next suggestion will be run."""
        return self._unfinished[0].trial_id if self._unfinished else f"t{len(self.study.trials):04d}"

    def suggest(self, trial_id: str) -> dict[str, Any]:
        if self._unfinished:
            trial = self._unfinished.pop(0)
        else:
            self._ot_study.sampler = optuna.samplers.TPESampler(
                seed=self._seed_of(len(self.study.trials), "sampler"),
                multivariate=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS,
            )  # fmt: skip
            trial = self.study.add_trial(super().suggest(trial_id))
        assert trial.trial_id == trial_id
        return trial.params | {
            TRIAL_ID: trial_id,
            SEED: self._seed_of(trial.number, "trial"),
            THRESHOLD: threshold_of(self.study, self._keep_checkpoints),
        }

    def _seed_of(self, number: int, purpose: Literal["sampler", "trial"]) -> int:
        """A seed of its own for each purpose, trial and study seed; neighbouring ones share nothing."""
        entropy = (self._seed, number, ("sampler", "trial").index(purpose))
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if result[EPOCH] > self._reported.get(trial_id, 0):  # a trial set back to a checkpoint repeats itself
            self._reported[trial_id] = result[EPOCH]
            self._ot_trials[trial_id].report(result[METRIC], result[EPOCH])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial = self._ot_trials.pop(trial_id)
        if error or not result or METRIC not in result:
            self._ot_study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr(EPOCHS, result[EPOCH])
            self._ot_study.tell(trial, result[METRIC])

    def _learn(self, trial: Trial) -> None:
        """Tell Optuna about a trial of an earlier search, in order of number as that search did."""
        if trial.state == RUNNING:
            self._ot_study.enqueue_trial(trial.params)
            asked = self._ot_trials[trial.trial_id] = self._ot_study.ask(self._space)
            for row in trial.history:
                asked.report(row[METRIC], row[EPOCH])
            self._reported[trial.trial_id] = trial.epochs
        else:
            self._ot_study.add_trial(as_optuna(trial, self._space))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study directory is the searcher's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see ``save``."""


class StudyTrials(SearchGenerator):
    """Creates Tune's trials under the study's own ids, which rungs, checkpoints and tables then share."""

    def __init__(self, searcher: StudySearch, max_concurrent: int) -> None:
        super().__init__(ConcurrencyLimiter(searcher, max_concurrent=max_concurrent))
        self._study_search = searcher

    def create_trial_if_possible(self, experiment_spec: dict[str, Any]) -> TuneTrial | None:
        """The next trial, None while as many as allowed are running (Tune's own, but for the id)."""
        trial_id = self._study_search.next_trial_id()
        suggested = self.searcher.suggest(trial_id)
        if suggested is None:
            return None
        spec = copy.copy(experiment_spec)
        spec["config"] = experiment_spec["config"] | suggested
        self._counter += 1
        return _create_trial_from_spec(
            spec, self._parser, evaluated_params=suggested, experiment_tag=trial_id, trial_id=trial_id
        )

    def save_to_dir(self, dirpath: str, session_str: str) -> None:
        """Nothing: see ``StudySearch.save``."""


def as_optuna(trial: Trial, distributions: dict[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    """An ended trial in Optuna's terms."""
    failed = trial.state == FAILED or trial.best_val_acc is None
    return create_trial(
        state=TrialState.FAIL if failed else TrialState.COMPLETE,
        value=None if failed else trial.best_val_acc,
        params=trial.params,
        distributions=distributions,
        intermediate_values={int(row[EPOCH]): float(row[METRIC]) for row in trial.history},
        user_attrs={TRIAL_ID: trial.trial_id, STATE: trial.state, EPOCHS: trial.epochs},
    )
