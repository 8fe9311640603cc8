"""How many images each class has, and what a constant answer scores on them.

A classifier that always gives the same answer scores more, the more images the largest class has. This score belongs
beside every accuracy.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
    """The share of the largest class: the accuracy of always answering with it; 0 without images.

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


def constant_scores(counts: Sequence[int]) -> dict[str, float]:
    """What a constant answer scores on images with these ``counts``, by the column of the metric.

    The answer is the ranking of the classes by their number of images; for the loss, their shares as probabilities.

    >>> round(constant_scores([30, 60, 10])["val_macro_f1"], 6)
    0.25
    """
    present = sorted((count for count in counts if count), reverse=True)
    if not present:
        return {}
    shares = [count / sum(present) for count in present]
    return {
        VAL_ACC: shares[0],
        VAL_BALANCED_ACC: 1 / len(shares),
        VAL_MACRO_F1: 2 * shares[0] / (1 + shares[0]) / len(shares),
        VAL_TOP2_ACC: sum(shares[:2]),
        VAL_LOSS: -sum(share * math.log(share) for share in shares),
    }


def recorded_counts(info: Mapping[str, Any]) -> dict[str, list[int]]:
    """The class counts of each split in study.json; empty for a study of an earlier version, or if they are damaged."""
    recorded = info.get(CLASS_COUNTS)
    counts = recorded if isinstance(recorded, Mapping) else {}
    fits = all(
        isinstance(counts.get(split), list) and counts[split] and all(map(_is_count, counts[split])) for split in SPLITS
    )
    return {split: counts[split] for split in SPLITS} if fits and len({len(counts[s]) for s in SPLITS}) == 1 else {}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def constant_score(info: Mapping[str, Any], column: str, split: str = VAL) -> float | None:
    """What a constant answer scores in the metric ``column`` on a split of a study; None if that is not recorded."""
    return constant_scores(recorded_counts(info).get(split, [])).get(column)


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
