"""Which configurations are retrained, which one wins, and which of the winner's runs becomes the model.

A candidate is a configuration of the search. A run is one retraining of a candidate with one seed.
"""

import math
import shlex
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from analysis.rungs import epochs_at
from inat.config.objective import Objective
from inat.constants import EPOCH, FAILED
from inat.errors import ConfigError, SearchError
from inat.study.cheaper import CostRule
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.space.grid import params_key
from inat.tuning.worker.trainable import SEED

DEFAULT_TOP = 3
NO_PREFERENCE = CostRule()
TINY = 1e-9  # the mean of the same values in another order differs in its last digit
CONFIDENCE_LEVEL = 0.95  # of all intervals in this package


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration: its ``trial`` in the search, and its ``runs`` that have a result, in order of seed.

    ``seeds`` is the number of runs that were asked for.
    """

    trial: Trial
    runs: tuple[Trial, ...]
    seeds: int

    @property
    def objective(self) -> Objective:
        """What the search optimised."""
        return self.trial.objective

    @property
    def complete(self) -> bool:
        """Whether every seed has a result."""
        return len(self.runs) == self.seeds

    @property
    def scores(self) -> list[float]:
        """Best value of each run."""
        return [score_of(run) for run in self.runs]

    @property
    def mean(self) -> float:
        """Mean of the best values over the seeds; needs at least one run."""
        return statistics.fmean(self.scores)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation between seeds (n - 1); None for a single run."""
        return statistics.stdev(self.scores) if len(self.runs) > 1 else None


def score_of(trial: Trial) -> float:
    """Best value of a trial that has one."""
    assert trial.best_value is not None
    return trial.best_value


def best_epoch(trial: Trial) -> int:
    """The epoch of the weights in the trial's best.ckpt: the first with its best value."""
    column = trial.objective.best_column
    return int(next(row[EPOCH] for row in trial.history if row[column] == trial.best_value))


def top_configurations(study: Study, count: int | None) -> list[Trial]:
    """The best trial of each of the ``count`` best configurations, best first; ties in order of trial number.

    Without ``count`` they are the DEFAULT_TOP best, or as many as there are. With --prefer-cheaper, the trial that the
    search put in the place of the best one comes last if it is not among them.

    Raises SearchError if no trial has a result, ConfigError if there are fewer than ``count`` configurations.
    """
    different: dict[str, Trial] = {}
    for trial in study.ranking():
        different.setdefault(params_key(trial.params), trial)
    if not different:
        raise SearchError(
            f"no trial of {study.directory} has a result; continue the search "
            f"(--resume {shlex.quote(str(study.directory))}) or choose another study"
        )
    if count is not None and count > len(different):
        raise ConfigError(
            f"--top {count} is more than the {len(different)} different configurations with a result in "
            f"{study.directory}; pass --top {len(different)} or less"
        )
    ranking = list(different.values())
    chosen = CostRule.of(study.info).as_good_as(ranking[0], ranking)[0]
    top = ranking[: DEFAULT_TOP if count is None else count]
    return [*top, *(trial for trial in (chosen,) if all(trial is not other for other in top))]


def run_params(trial: Trial, seed: int) -> dict[str, Any]:
    """Parameters that identify one run: the trial's hyperparameters and the seed."""
    return trial.params | {SEED: seed}


def epochs_of_run(max_epochs: int, epoch_cost: float) -> dict[str, Any]:
    """The settings of a run that has as many epochs as cost ``max_epochs`` of the recipe; none for a cost of 1.

    >>> epochs_of_run(60, 2.0), epochs_of_run(60, 1.0)
    ({'max_epochs': 30, 'patience': 30}, {})
    """
    epochs = epochs_at(max_epochs, epoch_cost)
    return {} if epoch_cost == 1 else {"max_epochs": epochs, "patience": epochs}


def find_run(study: Study, params: Mapping[str, Any]) -> Trial | None:
    """The run with these parameters that has not failed; None if there is none."""
    name = params_key(params)
    found = (trial for trial in study.trials.values() if trial.state != FAILED and params_key(trial.params) == name)
    return next(found, None)


def collect_candidates(retraining: Study, trials: Sequence[Trial], seeds: int) -> list[Candidate]:
    """One candidate per trial, in the order of ``trials``, with its runs in ``retraining``, which must have ended."""
    return [Candidate(trial, tuple(_runs_of(retraining, trial, seeds)), seeds) for trial in trials]


def _runs_of(retraining: Study, trial: Trial, seeds: int) -> Iterator[Trial]:
    for seed in range(1, seeds + 1):
        run = find_run(retraining, run_params(trial, seed))
        if run is not None and run.best_value is not None:
            yield run


def rank_candidates(candidates: Sequence[Candidate], rule: CostRule = NO_PREFERENCE) -> list[Candidate]:
    """Candidates, best first: by mean value of the objective, then smaller deviation, then rank in the search.

    A candidate with a failed seed is unreliable; it ranks behind all complete candidates. If ``rule`` prefers cheaper
    ones, the cheapest of those that are as good as the best one comes first.
    """

    def rank(candidate: Candidate) -> tuple[bool, float, float]:
        if not candidate.runs:
            return (True, 0.0, 0.0)
        # Rounded: the sum of the same accuracies in another order differs in its last digit.
        mean = candidate.objective.sign * round(candidate.mean, 9)
        return (not candidate.complete, -mean, round(candidate.sd or 0.0, 9))

    ranked = sorted(candidates, key=rank)
    first = cheapest_as_good(ranked, rule)
    return ranked if first is None else [first, *(candidate for candidate in ranked if candidate is not first)]


def cheapest_as_good(ranked: Sequence[Candidate], rule: CostRule) -> Candidate | None:
    """The complete candidate that costs least of those as good as the first of ``ranked``; None if that costs least.

    As good: within one standard error of its mean over the seeds, or within the distance of ``rule``. The cost is that
    of the trial in the search.
    """
    best = ranked[0] if ranked else None
    own = None if best is None else rule.cost_of(best.trial)
    if best is None or not best.complete or own is None or not rule.prefers_cheaper:
        return None
    sign, least = best.objective.sign, best.objective.sign * best.mean - allowance(best, rule) - TINY
    as_good = [c for c in ranked if c.complete and sign * c.mean >= least and (rule.cost_of(c.trial) or own) < own]
    return min(as_good, key=lambda candidate: rule.cost_of(candidate.trial) or own, default=None)


def allowance(best: Candidate, rule: CostRule) -> float:
    """How much worse than the mean of ``best`` that of a cheaper candidate may be: see ``cheapest_as_good``."""
    if isinstance(rule.preference, float | int):
        return float(rule.preference)
    return (best.sd or 0.0) / math.sqrt(len(best.runs))


def median_run(candidate: Candidate) -> Trial:
    """The run whose model is kept: the run with the median value of the objective.

    The best run would be biased: its value is the luckiest of several seeds. The median run has the test score that one
    training of this configuration can be expected to reach. For an even number of runs it is the worse of the two
    middle runs; equal values are in order of seed.
    """
    sign = candidate.objective.sign
    in_order = sorted(candidate.runs, key=lambda run: (sign * score_of(run), run.params[SEED]))
    return in_order[(len(in_order) - 1) // 2]


def lead(winner: Candidate, other: Candidate) -> tuple[float, float, float] | None:
    """By how much the winner's mean is better, and the ends of Welch's interval.

    None if a candidate has fewer than two runs, or if neither varies between seeds.
    """
    if not winner.sd and not other.sd:
        return None
    if len(winner.runs) < 2 or len(other.runs) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of SciPy, if the scores of one of them are all equal
        result = stats.ttest_ind(winner.scores, other.scores, equal_var=False)
        interval = result.confidence_interval(CONFIDENCE_LEVEL)
    if winner.objective.sign < 0:
        return other.mean - winner.mean, -float(interval.high), -float(interval.low)
    return winner.mean - other.mean, float(interval.low), float(interval.high)
