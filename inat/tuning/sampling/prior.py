"""A prior for TPE from the trials of earlier studies: what was good there is tried sooner, until own trials say more.

Optuna's own densities of the good and of the other earlier trials give a candidate a score, as TPE's two densities do
for the trials of this study. The two scores are added, the earlier one times a weight. The weight falls with the number
of own trials, which is the rule of piBO (Hvarfner et al. 2022, arXiv 2204.11051). It also falls to 0 where the earlier
scores order the own trials wrongly, as with the ranking weights of Feurer et al. 2018 (arXiv 1802.02219), so that
earlier studies that mislead cost a few trials only. Scores only order candidates: the earlier studies may have another
metric, other images or other epochs.

Of libraries, Optuna's sampler with source trials (CMA-ES) takes no choices, OptunaHub downloads code while it runs, and
Syne Tune's and OpenBox' transfer come with schedulers and trial stores of their own.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import rankdata

from inat.errors import StudyError
from inat.tuning.sampling.samplers import CANDIDATES, TPE_OPTIONS, FixedSpaceTPE, WasTried

RANK: Final = "rank"  # of an earlier trial in its study: above 0 and below 1, the best one's next to 1
PARAMS: Final = "params"  # those of its hyperparameters that have a value of the present space
LEARNED = (TrialState.COMPLETE, TrialState.PRUNED)
LEAST = 8  # earlier trials; fewer have no density worth its name
# With 3 configurations tried first, a TRUST of 3, and random trials at the start drawn from the prior, a search that is
# misled was significantly worse than one from scratch after 5 and 10 trainings (benchmarks/learn_from.py).
HALF = 20  # own trials after which the weight has halved
TRUST = 1  # own trials that would agree with the prior, counted before any has ended
SHARE = 0.5  # of the candidates that the earlier good trials suggest, at full weight

Samples = dict[str, NDArray[np.float64]]


class Prior:
    """Where the good trials of earlier studies were, and where the others, over the hyperparameters that they share."""

    def __init__(self, space: Mapping[str, BaseDistribution], trials: Sequence[Mapping[str, Any]]) -> None:
        self.space = dict(space)
        densities = Densities(seed=0, multivariate=True, n_startup_trials=1)
        study = optuna.create_study(direction="maximize", sampler=densities)
        for trial in trials:
            params = {name: trial[PARAMS][name] for name in self.space}
            study.add_trial(create_trial(value=trial[RANK], params=params, distributions=self.space))
        study.ask(self.space)
        self._good, self._others = densities.good, densities.others

    @classmethod
    def of(cls, earlier: Sequence[Mapping[str, Any]], distributions: Mapping[str, BaseDistribution]) -> "Prior | None":
        """The prior that ``earlier`` trials give, each with RANK and PARAMS; None if too few have enough in common.

        It is about the hyperparameters that vary and of which most earlier trials have a value, and is made from the
        trials that have all of these.
        """
        varied = {name: distributions[name] for name in sorted(distributions) if not distributions[name].single()}
        shared = {
            name: one for name, one in varied.items()
            if 2 * sum(name in trial[PARAMS] for trial in earlier) > len(earlier)
        }  # fmt: skip
        usable = [trial for trial in earlier if shared.keys() <= trial[PARAMS].keys()]
        return cls(shared, usable) if shared and len(usable) >= LEAST else None

    def draw(self, rng: np.random.RandomState, count: int) -> Samples:
        """Draw ``count`` candidates near the good earlier trials, in Optuna's internal representation."""
        drawn: Samples = self._good.sample(rng, count)
        return drawn

    def scores(self, samples: Samples) -> NDArray[np.float64]:
        """How much more likely each candidate is among the good earlier trials than among the others, as a log."""
        shared = {name: samples[name] for name in self.space}
        scores: NDArray[np.float64] = self._good.log_pdf(shared) - self._others.log_pdf(shared)
        return scores

    def weight(self, ended: Sequence[FrozenTrial], direction: StudyDirection) -> float:
        """The weight of the prior after the own trials in ``ended``: 1 without one, 0 if they contradict it.

        It is the rank correlation between the scores and the results of complete trials, as if TRUST more of them had
        agreed, times the part that is left after so many ended trials.
        """
        told = [each for each in ended if each.state == TrialState.COMPLETE and self.space.keys() <= each.params.keys()]
        samples = {
            name: np.array([one.to_internal_repr(each.params[name]) for each in told], dtype=float)
            for name, one in self.space.items()
        }
        sign = 1 if direction == StudyDirection.MAXIMIZE else -1
        correlation = _rank_correlation(self.scores(samples), [sign * _value_of(each) for each in told]) if told else 0
        agreement = (correlation * len(told) + TRUST) / (len(told) + TRUST)
        return float(max(0.0, agreement)) * HALF / (HALF + len(ended))


def _value_of(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return float(trial.value)


def _rank_correlation(first: NDArray[np.float64], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 for fewer than three pairs and where all values are equal."""
    if len(second) < 3:
        return 0.0
    ranks = [rankdata(each) - (len(second) + 1) / 2 for each in (first, second)]
    spread = math.sqrt(float(np.prod([each @ each for each in ranks])))
    return float(ranks[0] @ ranks[1]) / spread if spread else 0.0


class Densities(TPESampler):
    """Keeps the densities that TPE makes of a study's trials."""

    good: Any
    others: Any

    def _compute_acquisition_func(self, samples: Samples, mpe_below: Any, mpe_above: Any) -> NDArray[np.float64]:
        self.good, self.others = mpe_below, mpe_above
        return np.zeros(len(next(iter(samples.values()))))


class PriorTPE(FixedSpaceTPE):
    """``FixedSpaceTPE`` with a prior. Its random trials at the start are those of a search without one."""

    def __init__(
        self, space: Mapping[str, BaseDistribution], was_tried: WasTried, *, prior: Prior, seed: int, **options: Any
    ) -> None:
        super().__init__(space, was_tried, seed=seed, **options)
        self._prior = prior
        self._weight = 0.0
        self._draws = np.random.RandomState([seed, 1])  # other numbers than TPE draws

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Suggest values; called by Optuna, which draws those that are missing at random."""
        ended = study.get_trials(deepcopy=False, states=LEARNED)
        self._weight = self._prior.weight(ended, study.direction)
        suggested: dict[str, Any] = super().sample_relative(study, trial, search_space)
        return suggested

    def _compute_acquisition_func(self, samples: Samples, mpe_below: Any, mpe_above: Any) -> NDArray[np.float64]:
        if self._weight > 0:
            # TPE suggests one of ``samples`` as they are after this call, so some of them can come from the prior.
            count = round(len(next(iter(samples.values()))) * SHARE * self._weight)
            for name, values in (self._prior.draw(self._draws, count) if count else {}).items():
                samples[name][:count] = values
        scores = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        return scores + self._weight * self._prior.scores(samples) if self._weight > 0 else scores


def prior_of(earlier: Sequence[Mapping[str, Any]], distributions: Mapping[str, BaseDistribution]) -> Prior | None:
    """``Prior.of`` trials that study.json keeps; StudyError if somebody has edited them."""
    try:
        return Prior.of(earlier, distributions) if earlier else None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise StudyError(
            f"the earlier trials in study.json do not fit its search space ({error}); restore the file from a copy, or "
            "start a new study"
        ) from error


def make_prior_sampler(
    prior: Prior, seed: int, space: Mapping[str, BaseDistribution], was_tried: WasTried, candidates: int = CANDIDATES
) -> PriorTPE:
    """Make TPE over ``space`` with a prior; the other arguments are those of ``make_sampler``."""
    return PriorTPE(space, was_tried, prior=prior, seed=seed, n_ei_candidates=candidates, **TPE_OPTIONS)
