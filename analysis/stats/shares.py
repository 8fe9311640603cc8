"""Wilson's interval of a share of images: the one interval for accuracies, recalls and other shares."""

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
