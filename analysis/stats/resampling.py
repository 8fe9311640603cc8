"""Intervals and corrected significance, seeded: the same frame always gives the same numbers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

SEED = 0
ROUNDS = 1000
LEVEL = 0.95
# Below this, resampling a handful of values cannot show how far others might lie: no interval is given.
LEAST = 5


def weights(n: int, rounds: int = ROUNDS, seed: int = SEED) -> Array:
    """How often each of ``n`` trials is drawn in each of ``rounds`` bootstrap samples: rounds x n."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=rounds)
    return np.asarray(drawn, dtype=float)


def indices(n: int, rounds: int, seed: int = SEED) -> npt.NDArray[np.int64]:
    """The trials drawn in each bootstrap sample: rounds x n."""
    return np.random.default_rng(seed).integers(0, n, size=(rounds, n))


def interval(draws: Array, n: int | None = None, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of bootstrap ``draws`` of a statistic; NaN where too few of them are numbers.

    Percentiles of small samples are too narrow. With ``n``, the size of the (smallest) group, the tails are taken
    further out, as Hesterberg's expanded percentile interval does (The American Statistician 69, 2015), and there is
    none below LEAST.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < 0.9 * len(draws) or not len(finite) or (n is not None and n < LEAST):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    if n is not None:
        tail = float(stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(1 - tail, n - 1)))
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def mean_draws(values: Array, rounds: int = ROUNDS, seed: int = SEED) -> Array:
    """Bootstrap draws of the mean."""
    return weights(len(values), rounds, seed) @ values / max(len(values), 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p values that are looked at together; NaN stays, and does not count."""
    values = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(len(values), np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in corrected]


def spread_interval(value: float, draws: Array, least: float = -np.inf, most: float = np.inf) -> tuple[float, float]:
    """An interval from the spread of a few costly bootstrap ``draws``, too few for percentiles: ``value`` +- t s.

    ``least`` and ``most`` are the ends of what is possible.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < LEAST or not np.isfinite(value):
        return float("nan"), float("nan")
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(finite) - 1) * finite.std(ddof=1))
    return max(value - reach, least), min(value + reach, most)
