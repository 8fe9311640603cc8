"""Scores of one evaluation: accuracy with intervals, per class, confusions and calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch.nn import functional

from analysis.class_counts import constant_scores
from analysis.stats.shares import wilson_interval
from inat.constants import CONSTANT_ACC, VAL_ACC
from inat.finalize.candidates import CONFIDENCE_LEVEL
from inat.finalize.test_evaluation import rank_classes

DRAWS, SEED = 2000, 0  # of the answers that a perfectly calibrated model would give
DRAW_NUMBERS = 2**22  # random numbers drawn at a time, which bounds the memory to 32 MB
BINS = 10  # of equal width; with more, a test split of some hundred images leaves bins nearly empty
MAX_CONFUSIONS = 10


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of N images and C classes.

    ``values`` holds the scalar scores by name, ``per_class`` one dict per class, ``reliability`` one dict per
    confidence bin. ``confusion`` (C, C) counts images: row = true class, column = predicted class. ``confusions`` lists
    its largest errors.
    """

    values: dict[str, Any]
    per_class: list[dict[str, Any]]
    confusion: NDArray[np.int64]
    confusions: list[dict[str, Any]]
    reliability: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """All scores as JSON values."""
        return {
            **self.values,
            "per_class": self.per_class,
            "confusion": self.confusion.tolist(),
            "confusions": self.confusions,
            "reliability": self.reliability,
        }


def compute_scores(
    logits: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str], train: Sequence[int]
) -> Scores:
    """All scores of ``logits`` (N, C) against the true ``labels`` (N,).

    ``classes`` are the C class names, ``train`` the number of training images of each, which says what a constant
    answer is.
    """
    given, true = torch.from_numpy(logits), torch.from_numpy(labels)
    confidence = given.softmax(1).amax(1).clamp(max=1).numpy()
    ranking = rank_classes(logits)
    predicted = ranking[:, 0]
    correct, in_two = predicted == labels, (ranking[:, :2] == labels[:, None]).any(axis=1)
    bins = reliability(confidence, correct)
    per_class = per_class_scores(labels, predicted, classes)
    confusion = confusion_matrix(labels, predicted, labels=range(len(classes)))
    values = {
        "images": len(labels),
        "accuracy": float(correct.mean()),
        "accuracy_interval": interval_of(int(correct.sum()), len(correct)),
        "interval": f"{CONFIDENCE_LEVEL:.0%}, Wilson's",
        "top2_accuracy": float(in_two.mean()),
        "top2_interval": interval_of(int(in_two.sum()), len(in_two)),
        "majority_share": float(np.bincount(labels).max() / len(labels)),
        CONSTANT_ACC: constant_scores(train, np.bincount(labels, minlength=len(classes)).tolist()).get(VAL_ACC),
        "balanced_accuracy": _mean(row["recall"] for row in per_class),
        "macro_f1": _mean(row["f1"] for row in per_class),
        "loss": float(functional.cross_entropy(given, true)),
        "ece": calibration_error(bins),
        **chance_calibration_error(confidence),
        "ece_bins": BINS,
        "mean_confidence": float(confidence.mean()),
    }
    return Scores(values, per_class, confusion, worst_confusions(confusion, classes), bins)


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def interval_of(hits: int, count: int) -> list[float] | None:
    """Wilson's interval of ``hits / count`` as JSON has it: None if ``count`` is 0."""
    return list(wilson_interval(hits, count)) if count else None


def per_class_scores(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Precision, recall with Wilson's interval, F1 and support of each class; None where the denominator is 0."""
    columns = precision_recall_fscore_support(labels, predicted, labels=range(len(classes)), zero_division=np.nan)
    rows = []
    for index, (name, *numbers, support) in enumerate(zip(classes, *columns, strict=True)):
        precision, recall, f1 = (None if math.isnan(number) else float(number) for number in numbers)
        hits = int(((labels == index) & (predicted == index)).sum())
        rows.append({
            "class": name, "precision": precision, "recall": recall,
            "recall_interval": interval_of(hits, int(support)), "f1": f1, "support": int(support),
        })  # fmt: skip
    return rows


def worst_confusions(confusion: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent errors, most images first: "images" of class "true" predicted as "predicted", out of "of"."""
    support = confusion.sum(axis=1)
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [
        {"true": classes[t], "predicted": classes[p], "images": int(wrong[t, p]), "of": int(support[t])}
        for t, p in pairs
        if wrong[t, p]
    ]


def reliability(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """One row per confidence bin: its ends, number of images, mean confidence, and accuracy with Wilson's interval.

    Confidence and accuracy of an empty bin are None.
    """
    edges = np.linspace(0, 1, BINS + 1)
    of_bin = {
        name: stats.binned_statistic(confidence, values, statistic, bins=edges).statistic
        for name, values, statistic in (
            ("images", confidence, "count"), ("confidence", confidence, "mean"), ("accuracy", correct, "mean"),
        )
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for low, high, *numbers in zip(edges[:-1], edges[1:], *of_bin.values(), strict=True):
        images, mean, accuracy = (None if math.isnan(number) else float(number) for number in numbers)
        ends = {"low": round(float(low), 6), "high": round(float(high), 6), "images": int(images or 0)}
        hits = round((accuracy or 0.0) * (images or 0.0))
        interval = interval_of(hits, int(images or 0))
        rows.append(ends | {"confidence": mean, "accuracy": accuracy, "accuracy_interval": interval})
    return rows


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Expected calibration error of the rows of ``reliability``.

    The mean of |accuracy - mean confidence| over the bins, weighted by their number of images.
    """
    filled = [row for row in bins if row["images"]]
    distances = sum(row["images"] * abs(row["accuracy"] - row["confidence"]) for row in filled)
    return float(distances / sum(row["images"] for row in filled))


def chance_calibration_error(confidence: NDArray[np.float32]) -> dict[str, float]:
    """The calibration error that a perfectly calibrated model shows by chance, for confidences (N,).

    ``ece_chance`` is its mean, ``ece_chance_95`` the value that it stays below in 95 % of samples: each answer is
    drawn as right with the probability of its confidence. Source: Bröcker and Smith, "Increasing the reliability of
    reliability diagrams", Weather and Forecasting 22 (2007), consistency resampling.
    """
    random, count = np.random.default_rng(SEED), len(confidence)
    bin_of = np.minimum((confidence * BINS).astype(int), BINS - 1)
    members = np.eye(BINS)[bin_of]  # (N, bins)
    expected, found = confidence.astype(np.float64) @ members, []
    rows = max(1, min(DRAWS, DRAW_NUMBERS // count))
    for start in range(0, DRAWS, rows):
        right = random.random((min(rows, DRAWS - start), count)) < confidence
        found.append(np.abs(right @ members - expected).sum(1) / count)
    errors = np.concatenate(found)
    return {"ece_chance": float(errors.mean()), "ece_chance_95": float(np.quantile(errors, 0.95))}
