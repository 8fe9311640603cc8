"""Bootstrap intervals and corrected p values. All draws are seeded: the same table always gives the same numbers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

SEED = 0
ROUNDS = 1000
CONFIDENCE = 0.95
POWER = 0.8  # how often an effect or a difference that counts as detectable is found
MIN_VALUES = 5  # no interval below this: resampling a handful of values cannot show how far others may lie


def bootstrap_weights(n: int, rounds: int = ROUNDS, seed: int = SEED) -> Array:
    """How often each of ``n`` trials is drawn in each bootstrap sample; shape (rounds, n)."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=rounds)
    return np.asarray(drawn, dtype=float)


def bootstrap_indices(n: int, rounds: int, seed: int = SEED) -> npt.NDArray[np.int64]:
    """The indices of the trials drawn in each bootstrap sample; shape (rounds, n)."""
    return np.random.default_rng(seed).integers(0, n, size=(rounds, n))


def percentile_interval(draws: Array, n: int | None = None, level: float = CONFIDENCE) -> tuple[float, float]:
    """The percentile interval of bootstrap ``draws`` of a statistic; NaN if too many draws are not finite.

    Percentile intervals of small samples are too narrow. With ``n``, the size of the (smallest) group, the interval is
    widened as in Hesterberg's expanded percentile interval (The American Statistician 69, 2015), and it is NaN for
    fewer than MIN_VALUES values.

    >>> low, high = percentile_interval(bootstrap_means(np.arange(10.0)), n=10)
    >>> round(low, 1), round(high, 1)
    (2.5, 6.7)
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < 0.9 * len(draws) or not len(finite) or (n is not None and n < MIN_VALUES):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    if n is not None:
        tail = float(stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(1 - tail, n - 1)))
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_means(values: Array, rounds: int = ROUNDS, seed: int = SEED) -> Array:
    """Bootstrap draws of the mean of ``values``."""
    return bootstrap_weights(len(values), rounds, seed) @ values / max(len(values), 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p values for multiple tests; NaN stays NaN and does not count as a test.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(len(values), np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in corrected]


def t_interval(value: float, draws: Array, lowest: float = -np.inf, highest: float = np.inf) -> tuple[float, float]:
    """The interval ``value`` ± t s, from the standard deviation s of a few costly bootstrap ``draws``.

    For statistics of which there are too few draws for percentiles. The interval is cut at ``lowest`` and ``highest``.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < MIN_VALUES or not np.isfinite(value):
        return float("nan"), float("nan")
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(finite) - 1) * finite.std(ddof=1))
    return max(value - reach, lowest), min(value + reach, highest)
