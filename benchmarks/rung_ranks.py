"""How well early accuracies rank configurations: rank correlation, and what successive halving would choose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.resampling import ROUNDS, bootstrap_indices, percentile_interval

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic over configurations and its bootstrap interval, which is NaN for fewer than 5 of them."""

    value: float
    low: float
    high: float

    def text(self, form: str = "+.2f") -> str:
        """The statistic and its interval, for example ``+0.81 (+0.42 to +0.97)``."""
        ends = "" if math.isnan(self.low) else f" ({self.low:{form}} to {self.high:{form}})"
        return f"{self.value:{form}}{ends}"


def spearman(left: Array, right: Array) -> Array:
    """Spearman's rank correlation along the last axis; NaN where all values of a side are equal."""
    from scipy import stats

    ranks = [stats.rankdata(values, axis=-1) for values in (left, right)]
    x, y = (rank - rank.mean(-1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):
        return np.asarray((x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1)))


def halving_choice(rungs: Sequence[Array], final: Array, factor: int) -> int:
    """The configuration that successive halving chooses.

    At each rung, the best 1/``factor`` of the configurations that are left go on, rounded up; of those left at the end,
    the one with the best final accuracy is chosen.
    """
    left = np.arange(len(final))
    for accuracies in rungs:
        order = np.argsort(-accuracies[left], kind="stable")
        left = left[order[: math.ceil(len(left) / factor)]]
    return int(left[np.argmax(final[left])])


def lost_points(rungs: Sequence[Array], final: Array, factor: int) -> float:
    """Points of final accuracy by which the choice of successive halving is below the best configuration."""
    return 100 * float(final.max() - final[halving_choice(rungs, final, factor)])


def correlation(rung: Array, final: Array) -> Estimate:
    """Spearman's correlation of the accuracies at a rung with the final ones."""
    drawn = _draws(len(final))
    draws = spearman(rung[drawn], final[drawn])
    return Estimate(float(spearman(rung, final)), *percentile_interval(draws, len(final)))


def correlation_gain(rung: Array, final: Array, base_rung: Array, base_final: Array) -> Estimate:
    """By how much the correlation exceeds that of another way to train, over the same configurations."""
    drawn = _draws(len(final))
    draws = spearman(rung[drawn], final[drawn]) - spearman(base_rung[drawn], base_final[drawn])
    gain = float(spearman(rung, final) - spearman(base_rung, base_final))
    return Estimate(gain, *percentile_interval(draws, len(final)))


def mean_loss(rungs: Sequence[Array], final: Array, factor: int) -> Estimate:
    """What successive halving loses, in points, and its bootstrap interval."""
    draws = [lost_points([rung[drawn] for rung in rungs], final[drawn], factor) for drawn in _draws(len(final))]
    return Estimate(lost_points(rungs, final, factor), *percentile_interval(np.array(draws), len(final)))


def _draws(count: int) -> npt.NDArray[np.int64]:
    return bootstrap_indices(count, ROUNDS)
