"""Compare two models by a score that is no share of right images, such as macro F1, on the same images.

The test swaps the answers of the two models on random images: if the models are exchangeable, every swap is as likely
as what was seen. Where only their scores are equal, the test is careful, as answers that differ count as noise whatever
their mean. For the accuracy it is McNemar's test. The interval is that of a bootstrap of the images, which both models
share. How often they are right: benchmarks/metric_noise.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from analysis.stats.resampling import ROUNDS, SEED, Array, percentile_interval

SWAPS = 1999
BATCH_BYTES = 40_000_000
TOLERANCE = 1e-12  # differences that are equal but for rounding


@dataclass(frozen=True, eq=False)
class Ratios:
    """The answers of a model on N images, as parts of a score that is a mean of ratios of sums.

    ``tops`` and ``bottoms`` (N, folds * classes): what each image adds to numerator and denominator of each class of
    each fold. The score of a fold is the mean ratio of its classes whose denominator is not 0.
    """

    tops: sparse.csr_array
    bottoms: sparse.csr_array
    folds: int = 1

    @property
    def value(self) -> float:
        """The score: the mean of those of the folds."""
        return float(self.score(self.tops.sum(axis=0), self.bottoms.sum(axis=0)))

    def score(self, tops: Array, bottoms: Array) -> Array:
        """The scores (...) of sums (..., folds * classes)."""
        present = bottoms > 0
        ratios = np.divide(tops, bottoms, out=np.zeros(np.shape(tops)), where=present)
        each = (*np.shape(tops)[:-1], self.folds, -1)
        known = np.maximum(present.reshape(each).sum(axis=-1), 1)
        scores: Array = (ratios.reshape(each).sum(axis=-1) / known).mean(axis=-1)
        return scores

    @cached_property
    def resampled(self) -> Array:
        """The scores (ROUNDS,) of bootstrap samples of the images, the same samples for each model."""
        weights = _weights(self.tops.shape[0])
        return np.concatenate([self.score(weight @ self.tops, weight @ self.bottoms) for weight in weights])


def mean_ratios(values: npt.NDArray[Any], fold: npt.NDArray[np.int64]) -> Ratios:
    """The mean over folds of the mean of ``values`` (N,), such as losses, in each ``fold`` (N,)."""
    return _ratios([(fold, values)], [(fold, np.ones(len(fold)))], int(fold.max()) + 1, 1)


def recall_ratios(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], fold: npt.NDArray[np.int64], classes: int
) -> Ratios:
    """The balanced accuracy: the mean recall of the classes that have images."""
    own, folds = fold * classes + labels, int(fold.max()) + 1
    return _ratios([(own, labels == predicted)], [(own, np.ones(len(own)))], folds, classes)


def f1_ratios(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], fold: npt.NDArray[np.int64], classes: int
) -> Ratios:
    """The macro F1: the mean F1 of the classes that have images or were predicted, 2 tp / (2 tp + fp + fn)."""
    own, given, folds = fold * classes + labels, fold * classes + predicted, int(fold.max()) + 1
    ones = np.ones(len(own))
    return _ratios([(own, 2.0 * (labels == predicted))], [(own, ones), (given, ones)], folds, classes)


def _ratios(
    tops: list[tuple[Any, npt.NDArray[Any]]], bottoms: list[tuple[Any, npt.NDArray[Any]]], folds: int, classes: int
) -> Ratios:
    return Ratios(_summed(tops, folds * classes), _summed(bottoms, folds * classes), folds)


def _summed(parts: list[tuple[Any, npt.NDArray[Any]]], groups: int) -> sparse.csr_array:
    """The matrix (N, groups) to which each part adds one value per image."""
    count = len(parts[0][0])
    columns, values = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    rows = np.tile(np.arange(count), len(parts))
    return sparse.coo_array((values.astype(float), (rows, columns)), shape=(count, groups)).tocsr()


def compare_scores(first: Ratios, second: Ratios) -> dict[str, Any]:
    """Compare the scores of two models on the same images.

    "difference" is the score of the first minus that of the second, with the 95 % interval of "low" and "high" of this
    comparison alone; "standard_error" is that of the difference. The p value has two sides.

    >>> fold = np.zeros(4, dtype=int)
    >>> compare_scores(mean_ratios(np.array([1, 1, 0, 1]), fold), mean_ratios(np.ones(4), fold))["p_value"]
    1.0
    """
    draws = first.resampled - second.resampled
    low, high = percentile_interval(draws, first.tops.shape[0])
    return {
        "difference": first.value - second.value, "low": low, "high": high, "p_value": _swap_test(first, second),
        "standard_error": float(np.std(draws, ddof=1)),
    }  # fmt: skip


def _swap_test(first: Ratios, second: Ratios) -> float:
    """The p value of the difference among those after swaps of the answers of random images.

    ``scipy.stats.permutation_test`` gives the same, in ten times the time. A difference that no swap reaches has the p
    value of a normal distribution with the deviation of the swaps, as SWAPS could not tell 0.0005 from less.
    """
    tops, bottoms = second.tops - first.tops, second.bottoms - first.bottoms
    differing = np.flatnonzero(abs(tops).sum(axis=1) + abs(bottoms).sum(axis=1))
    tops, bottoms = tops[differing], bottoms[differing]
    sums = [each.sum(axis=0) for each in (first.tops, first.bottoms, second.tops, second.bottoms)]
    seen, reached, squares = abs(first.value - second.value), 0, 0.0
    random = np.random.default_rng(SEED)
    for rounds in _parts(SWAPS, len(differing)):
        bits = np.frombuffer(random.bytes(rounds * -(-len(differing) // 8)), np.uint8).reshape(rounds, -1)
        swapped = np.unpackbits(bits, axis=1, count=len(differing)).astype(float)
        top, bottom = swapped @ tops, swapped @ bottoms
        one, other = first.score(sums[0] + top, sums[1] + bottom), first.score(sums[2] - top, sums[3] - bottom)
        reached += int((np.abs(one - other) >= seen - TOLERANCE).sum())
        squares += float(((one - other) ** 2).sum())
    if not reached and squares:
        return float(min(2 * stats.norm.sf(seen / (squares / SWAPS) ** 0.5), 1 / (SWAPS + 1)))
    return (reached + 1) / (SWAPS + 1)


def _weights(count: int) -> Iterator[Array]:
    """How often each image is drawn in ROUNDS bootstrap samples, in parts that fit into memory."""
    random = np.random.default_rng(SEED)
    for rounds in _parts(ROUNDS, count):
        drawn = random.integers(count, size=(rounds, count)) + np.arange(rounds)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=rounds * count).reshape(rounds, count).astype(float)


def _parts(total: int, width: int) -> Iterator[int]:
    """Numbers of rows that add up to ``total``, as many as fit into BATCH_BYTES at ``width`` numbers per row."""
    part = max(1, BATCH_BYTES // 8 // max(width, 1))
    yield from (min(part, total - start) for start in range(0, total, part))
