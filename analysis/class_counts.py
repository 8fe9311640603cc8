"""How many images each class has, and what a constant answer scores on them.

A classifier that always gives the same answer scores more, the more images its class has. The answer is the class that
is most frequent in training, as a classifier can know no other split. This score belongs beside every accuracy.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.objective import Objective
from analysis.schema import (
    CLASS_COUNTS,
    TEST,
    TRAIN,
    VAL,
    VAL_ACC,
    VAL_BALANCED_ACC,
    VAL_LOSS,
    VAL_MACRO_F1,
    VAL_TOP2_ACC,
)

MAJORITY = 0.5  # of the images: with more of them in one class, the accuracy says little about the other classes
MAJORITY_OF_TWO = 0.75  # of two classes one always has half
RATIO = 10  # largest class to smallest class from which the accuracy hardly counts the smallest
SPLITS = (TRAIN, VAL, TEST)


def majority_share(counts: Sequence[int]) -> float:
    """The share of the largest class; 0 without images.

    >>> majority_share([30, 60, 10])
    0.6
    """
    return max(counts) / sum(counts) if sum(counts) else 0.0


def is_imbalanced(counts: Sequence[int]) -> bool:
    """Whether the largest class has over half of the images, or at least RATIO times those of the smallest.

    Of two classes, the larger one needs over MAJORITY_OF_TWO.

    >>> is_imbalanced([60, 40]), is_imbalanced([60, 20, 20]), is_imbalanced([100, 10])
    (False, True, True)
    """
    largest, smallest = max(counts, default=0), min(counts, default=0)
    most = MAJORITY_OF_TWO if len(counts) == 2 else MAJORITY
    return (len(counts) > 1 and majority_share(counts) > most) or largest >= RATIO * max(smallest, 1)


def constant_scores(train: Sequence[int], counts: Sequence[int]) -> dict[str, float]:
    """What a constant answer scores on images with these ``counts`` per class, by the column of the metric.

    The answer is the ranking of the classes by their images in ``train``, the first of equal ones first; for the loss,
    their shares there as probabilities. No loss if one of these is 0 for a class that has images: it is infinite.

    >>> round(constant_scores([300, 600, 100], [30, 60, 10])["val_macro_f1"], 6)
    0.25
    >>> constant_scores([600, 300], [30, 70])["val_acc"]
    0.3
    """
    if not sum(train) or not sum(counts):
        return {}
    ranking = sorted(range(len(train)), key=lambda label: -train[label])
    share, second = (counts[label] / sum(counts) for label in (ranking * 2)[:2])
    present = sum(count > 0 for count in counts)
    scores = {
        VAL_ACC: share,
        VAL_BALANCED_ACC: (share > 0) / present,
        VAL_MACRO_F1: 2 * share / (1 + share) / present,
        VAL_TOP2_ACC: share + (second if len(train) > 1 else 0),
    }
    pairs = [(count / sum(counts), of / sum(train)) for count, of in zip(counts, train, strict=True) if count]
    possible = all(probability for _, probability in pairs)
    return scores | ({VAL_LOSS: -sum(part * math.log(probability) for part, probability in pairs)} if possible else {})


def recorded_counts(info: Mapping[str, Any]) -> dict[str, list[int]]:
    """The class counts of each split in study.json; empty for a study of an earlier version, or if they are damaged."""
    recorded = info.get(CLASS_COUNTS)
    counts = recorded if isinstance(recorded, Mapping) else {}
    fits = all(
        isinstance(counts.get(split), list) and counts[split] and all(map(_is_count, counts[split])) for split in SPLITS
    )
    return {split: counts[split] for split in SPLITS} if fits and len({len(counts[s]) for s in SPLITS}) == 1 else {}


def validation_images(info: Mapping[str, Any]) -> tuple[int | None, int]:
    """The number of validation images of all folds together, None if it is not recorded, and the number of folds."""
    counts, config = recorded_counts(info), info.get("config")
    folds = config.get("folds", 1) if isinstance(config, Mapping) else 1
    folds = folds if type(folds) is int and folds > 1 else 1
    if not counts:
        return None, folds
    return sum(counts[VAL]) + (sum(counts[TRAIN]) if folds > 1 else 0), folds


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def constant_score(info: Mapping[str, Any], column: str, split: str = VAL) -> float | None:
    """What a constant answer scores in the metric ``column`` on a split of a study; None if that is not recorded."""
    counts = recorded_counts(info)
    return constant_scores(counts[TRAIN], counts[split]).get(column) if counts else None


def in_32_bit(score: float) -> float:
    """A score as the results of trials are kept; compared as it is, a trial with the same score might be better.

    >>> 0.1006944477558136 > 29 / 288, 0.1006944477558136 > in_32_bit(29 / 288)
    (True, False)
    """
    return float(np.float32(score))


def constant_answer(info: Mapping[str, Any]) -> str:
    """The class that a constant answer names: the first of the largest in training; "" if that is not recorded."""
    counts, data = recorded_counts(info), info.get("data")
    classes = data.get("classes") if isinstance(data, Mapping) else None
    if not counts or not isinstance(classes, list) or len(classes) != len(counts[TRAIN]):
        return ""
    return str(classes[counts[TRAIN].index(max(counts[TRAIN]))])


def beside(info: Mapping[str, Any], objective: Objective) -> str:
    """Text to print beside a value of the objective: " (a constant answer scores 0.3600)"; "" if it is not known."""
    score = constant_score(info, objective.column)
    return "" if score is None else f" (a constant answer scores {score:.4f})"


def describe_counts(classes: Sequence[str], counts: Sequence[int]) -> str:
    """The number of classes, and the largest and smallest of them.

    >>> describe_counts(["bird", "moss"], [1234, 12])
    '2: largest bird 1,234 (99 %), smallest moss 12'
    """
    ranked = sorted(zip(counts, classes, strict=True), key=lambda pair: -pair[0])
    (most, largest), (least, smallest) = ranked[0], ranked[-1]
    share = f"{100 * majority_share(counts):.0f} %"
    return f"{len(ranked):,}: largest {largest} {most:,} ({share}), smallest {smallest} {least:,}"
