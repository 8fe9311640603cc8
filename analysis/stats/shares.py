"""Wilson's interval of a share of images, the one interval for accuracies and recalls, and that of a difference."""

import math

from scipy.stats import binomtest

from analysis.stats.resampling import CONFIDENCE


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of ``hits / count``, which has a width even if all or none of the ``count`` images are hits.

    The percentile bootstrap of a share near 1 holds the true share too rarely: in 64 % of samples of 50 images with a
    share of 0.98, where Wilson's interval holds it in 92 to 97 %.

    >>> [round(end, 3) for end in wilson_interval(90, 100)]
    [0.826, 0.945]
    """
    ends = binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return float(ends.low), float(ends.high)


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a ``share`` of ``count`` images, which stands for a whole number of hits.

    >>> share_interval(0.9, 100) == wilson_interval(90, 100)
    True
    """
    return wilson_interval(round(share * count), count)


def difference_interval(first: float, first_count: int, second: float, second_count: int) -> tuple[float, float]:
    """The interval of ``first - second``, shares of different images, from Wilson's intervals of the two.

    Method 10 of Newcombe 1998, Interval estimation for the difference between independent proportions.

    >>> [round(end, 4) for end in difference_interval(56 / 70, 70, 48 / 80, 80)]
    [0.0524, 0.3339]
    """
    (low1, high1), (low2, high2) = share_interval(first, first_count), share_interval(second, second_count)
    difference = first - second
    return (
        difference - math.hypot(first - low1, high2 - second),
        difference + math.hypot(high1 - first, second - low2),
    )
