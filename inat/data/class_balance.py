"""Classes of unequal size: their images in each split, and weights that make rare classes count as much as others."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.class_counts import constant_scores, describe_counts, is_imbalanced
from analysis.escaping import printable
from inat.config.objective import ACCURACY, BALANCED_ACCURACY, Objective
from inat.config.optim import BALANCED, EFFECTIVE, NO_WEIGHTS
from inat.constants import TEST, TRAIN, VAL
from inat.data.splits import Splits

BETA = 0.999  # of the effective number of images


def class_counts(splits: Splits) -> dict[str, list[int]]:
    """The number of images of each class in each split, in the order of the classes."""
    parts = {TRAIN: splits.train, VAL: splits.val, TEST: splits.test}
    return {name: count(part.labels[part.rows], len(splits.classes)).tolist() for name, part in parts.items()}


def count(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """The number of images of each class."""
    return np.bincount(labels, minlength=num_classes)


def class_weights(method: str, counts: Sequence[int] | NDArray[np.int64]) -> list[float] | None:
    """The weight of each class in the training loss, given its training images; None for "none".

    "balanced": inverse to the number n of images. "effective": inverse to their effective number,
    (1 - BETA**n) / (1 - BETA), of Cui et al. 2019 (https://arxiv.org/abs/1901.05555), which grows more slowly. The mean
    over all training images is 1, so a learning rate suits both. A class without images has the weight 0.

    >>> class_weights("balanced", [90, 10])
    [0.5555555555555556, 5.0]
    """
    if method == NO_WEIGHTS:
        return None
    images = np.asarray(counts, dtype=np.float64)
    number = {BALANCED: images, EFFECTIVE: (1 - BETA**images) / (1 - BETA)}[method]
    inverse = np.divide(1, number, out=np.zeros_like(images), where=images > 0)
    weights: list[float] = (inverse * images.sum() / (inverse * images).sum()).tolist()
    return weights


def describe_balance(classes: Sequence[str], counts: Mapping[str, Sequence[int]], objective: Objective) -> list[str]:
    """Lines about the classes of a study, given ``class_counts``; the last one recommends a metric where one helps."""
    photos = [train + val for train, val in zip(counts[TRAIN], counts[VAL], strict=True)]
    score = constant_scores(counts[TRAIN], counts[VAL]).get(objective.column)
    metric = "" if objective is ACCURACY else f" {objective.short}"
    constant = "" if score is None else f"; a constant answer scores {score:.4f}{metric}"
    lines = [f"classes {describe_counts(classes, photos)}, of training and validation photos{constant}"]
    if is_imbalanced(photos) and objective is ACCURACY:
        lines.append(
            f"advice  rare classes hardly count in the accuracy: --metric {BALANCED_ACCURACY.name} counts all equally"
        )
    return [printable(line) for line in lines]  # names of classes may have line breaks
