"""Compare two models by the images that they have right: the same images, or two shares of which no more is known."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.stats.resampling import CONFIDENCE, POWER, Array

Right = npt.NDArray[np.bool_]


def compare_pairs(first: Right, second: Right) -> dict[str, Any]:
    """Compare the accuracy of two models on the same N images; ``first`` and ``second`` (N,) say which are right.

    "difference" is the accuracy of the first minus that of the second, "p_value" that of McNemar's test in its exact
    form: a binomial test on the images that only one of them has right. The interval is that of Agresti and Min,
    "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24 (2005): a half
    is added to each of the four counts.
    """
    count, only_first, only_second = len(first), int((first & ~second).sum()), int((second & ~first).sum())
    one, other, total = only_first + 0.5, only_second + 0.5, count + 2
    centre = (one - other) / total
    width = _z((1 + CONFIDENCE) / 2) * math.sqrt(one + other - (one - other) ** 2 / total) / total
    either = only_first + only_second
    return {
        "difference": (only_first - only_second) / count,
        "difference_interval": [max(-1.0, float(centre - width)), min(1.0, float(centre + width))],
        "only_first": only_first,
        "only_second": only_second,
        "p_value": float(stats.binomtest(only_first, either).pvalue) if either else 1.0,
    }


def compare_shares(first: float, first_count: float, second: Array, second_count: Array) -> dict[str, Array]:
    """Compare one share with several others, as if all were of different images.

    Shares of the same images vary together, so the differences are more certain than this says. "p_value" is that of
    the pooled z test. The interval is that of Agresti and Caffo, "Simple and effective confidence intervals for
    proportions and differences of proportions", The American Statistician 54 (2000): one hit and one miss are added to
    each share.
    """
    pooled = (first * first_count + second * second_count) / (first_count + second_count)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / first_count + 1 / second_count))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(spread > 0, np.abs(first - second) / spread, 0.0)
    one, other = (first * first_count + 1) / (first_count + 2), (second * second_count + 1) / (second_count + 2)
    centre = one - other
    width = _z((1 + CONFIDENCE) / 2) * np.sqrt(
        one * (1 - one) / (first_count + 2) + other * (1 - other) / (second_count + 2)
    )
    return {
        "difference": first - second,
        "low": np.maximum(centre - width, -1.0),
        "high": np.minimum(centre + width, 1.0),
        "p_value": 2 * stats.norm.sf(z),
    }


def detectable_paired(count: int, differing: float) -> float:
    """The smallest difference between two accuracies on the same ``count`` images that McNemar's test detects.

    It is found in 80 % of samples, at a level of 5 %, if the two answers differ on a share ``differing`` of the images.
    Solved for the difference d, from the size of a sample of Connor, "Sample size for testing differences in
    proportions for the paired-sample design", Biometrics 43 (1987): d sqrt(n) = z_a sqrt(s) + z_b sqrt(s - d²).

    >>> round(detectable_paired(454, 0.1), 3)
    0.041
    """
    z_level, z_power = _z((1 + CONFIDENCE) / 2), _z(POWER)
    first = z_level * math.sqrt(count * differing)
    root = first**2 - (count + z_power**2) * differing * (z_level**2 - z_power**2)
    return min(1.0, (first + math.sqrt(root)) / (count + z_power**2))


def detectable_unpaired(count: float, share: float) -> float:
    """The same for two shares near ``share``, each of ``count`` different images.

    From the usual size of a sample: d = (z_a + z_b) sqrt(2 p (1 - p) / n), as in Fleiss, Levin and Paik, "Statistical
    methods for rates and proportions" (2003), section 4.3.

    >>> round(detectable_unpaired(454, 0.7), 3)
    0.085
    """
    return float((_z((1 + CONFIDENCE) / 2) + _z(POWER)) * math.sqrt(2 * share * (1 - share) / count))


def _z(probability: float) -> float:
    return float(stats.norm.ppf(probability))
