"""Which configurations are retrained, which of them wins, and which of the winner's trainings becomes the model."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from inat.constants import BEST_VAL_ACC, EPOCH, FAILED
from inat.errors import ConfigError, SearchError
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.space.grid import params_key
from inat.tuning.worker.trainable import SEED

LEVEL = 0.95  # of intervals


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration: its trial in the search, and its trainings that ended with a result, one a seed, by seed."""

    trial: Trial
    runs: tuple[Trial, ...]
    wanted: int

    @property
    def complete(self) -> bool:
        """Whether every seed has a result."""
        return len(self.runs) == self.wanted

    @property
    def scores(self) -> list[float]:
        """Best validation accuracy of each training."""
        return [score_of(run) for run in self.runs]

    @property
    def mean(self) -> float:
        """Mean validation accuracy over the seeds; there must be one."""
        return statistics.fmean(self.scores)

    @property
    def sd(self) -> float | None:
        """Standard deviation between seeds, with n - 1; None for a single one."""
        return statistics.stdev(self.scores) if len(self.runs) > 1 else None


def score_of(trial: Trial) -> float:
    """Best validation accuracy of a trial that has one."""
    assert trial.best_val_acc is not None
    return trial.best_val_acc


def best_epoch(trial: Trial) -> int:
    """The epoch whose weights a trial kept: the first with its best validation accuracy."""
    return int(next(row[EPOCH] for row in trial.history if row[BEST_VAL_ACC] == trial.best_val_acc))


def top_configurations(study: Study, count: int) -> list[Trial]:
    """The best ended trials with different configurations, best first, equal ones in order of number.

    SearchError if no trial has a result, ConfigError if there are fewer than ``count``.
    """
    different: dict[str, Trial] = {}
    for trial in study.ranking():
        different.setdefault(params_key(trial.params), trial)
    if not different:
        raise SearchError(
            f"none of the {len(study.trials)} trials of {study.directory} has a result; go on with the search "
            f"(--resume {study.directory}) or choose another study"
        )
    if count > len(different):
        raise ConfigError(
            f"--top {count} is more than the {len(different)} different configurations with a result in "
            f"{study.directory}; pass --top {len(different)} or less"
        )
    return list(different.values())[:count]


def run_params(trial: Trial, seed: int) -> dict[str, Any]:
    """What one training of a trial's configuration is called by: its hyperparameters and the seed."""
    return trial.params | {SEED: seed}


def find_run(study: Study, params: Mapping[str, Any]) -> Trial | None:
    """The training with these parameters that has not failed; None if there is none."""
    name = params_key(params)
    found = (trial for trial in study.trials.values() if trial.state != FAILED and params_key(trial.params) == name)
    return next(found, None)


def candidates_of(retraining: Study, trials: Sequence[Trial], seeds: int) -> list[Candidate]:
    """What is known of each trial's configuration, in their order; all trainings must have ended."""
    return [Candidate(trial, tuple(_runs_of(retraining, trial, seeds)), seeds) for trial in trials]


def _runs_of(retraining: Study, trial: Trial, seeds: int) -> Iterator[Trial]:
    for seed in range(1, seeds + 1):
        run = find_run(retraining, run_params(trial, seed))
        if run is not None and run.best_val_acc is not None:
            yield run


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first: by mean validation accuracy, equal ones by the smaller deviation, then by their rank in the search.

    One that failed with some seed is not to be relied on and comes behind those that did not.
    """

    def rank(candidate: Candidate) -> tuple[bool, float, float]:
        if not candidate.runs:
            return (True, 0.0, 0.0)
        # Rounded: sums of the same accuracies in another order differ in their last digit.
        return (not candidate.complete, -round(candidate.mean, 9), round(candidate.sd or 0.0, 9))

    return sorted(candidates, key=rank)


def median_run(candidate: Candidate) -> Trial:
    """The training whose model is kept: the one with the median validation accuracy.

    Not the best one. The seeds were tried to learn what the configuration gives, and the model is to be one that the
    mean describes: its validation accuracy is then not the luckiest of several, and its test score is what somebody who
    trains this configuration once can expect. Of an even number it is the lower of the two in the middle; equal
    accuracies are in order of seed.
    """
    in_order = sorted(candidate.runs, key=lambda run: (score_of(run), run.params[SEED]))
    return in_order[(len(in_order) - 1) // 2]


def lead(winner: Candidate, other: Candidate) -> tuple[float, float, float] | None:
    """By how much the winner's mean is above the other's, with Welch's interval; None where there is no spread."""
    if not winner.sd and not other.sd:
        return None
    if len(winner.runs) < 2 or len(other.runs) < 2:
        return None
    interval = stats.ttest_ind(winner.scores, other.scores, equal_var=False).confidence_interval(LEVEL)
    return winner.mean - other.mean, float(interval.low), float(interval.high)
