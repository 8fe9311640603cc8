"""The section about a study's final model, which ``python -m inat.finalize`` writes."""

from typing import Any

import pandas as pd

from analysis.figures.final import plot_confusion, plot_reliability
from analysis.objective import ACCURACY
from analysis.report.document import Fact, Item, ReportFigure, Section, Table, section
from analysis.schema import CONSTANT_ACC, FINAL_DIR, METRICS_JSON, TEST
from analysis.test_scores import accuracy_interval, describe_calibration

# What reading a metrics.json raises that somebody else changed or cut.
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError)
BIN_COLUMNS = ["confidence", "accuracy", "low", "high", "images"]


def final_fact(metrics: dict[str, Any]) -> list[Fact]:
    """The test accuracy of the final model, for the first screen; nothing if metrics.json is damaged."""
    if not metrics:
        return []
    try:
        test, winner = metrics[TEST], metrics["winner"]["trial_id"]
        # Earlier versions did not record it.
        constant = f"; a constant answer scores {test[CONSTANT_ACC]:.4f}" if test.get(CONSTANT_ACC) is not None else ""
        note = f"test accuracy of {winner}, retrained ({_interval(test)}{test['images']:,} images{constant})"
        return [Fact("final model", f"{test['accuracy']:.4f}", note)]
    except DAMAGED:
        return []


def _interval(test: dict[str, Any]) -> str:
    ends = accuracy_interval(test)
    return f"95 % interval {ends[0]:.3f} to {ends[1]:.3f}, " if ends else ""  # a single image has no interval


def final_section(metrics: dict[str, Any]) -> list[Section]:
    """How good the final model is on the test split and how it was chosen; no section without a final model."""
    return [section("final", "Final model", lambda: _checked_items(metrics))] if metrics else []


def _checked_items(metrics: dict[str, Any]) -> list[Item]:
    try:
        return _items(metrics)
    except DAMAGED as error:
        place = f"{FINAL_DIR}/{METRICS_JSON}"
        raise ValueError(f"{place} is damaged ({type(error).__name__}: {error}); run inat.finalize again") from error


def _items(metrics: dict[str, Any]) -> list[Item]:
    test, classes = metrics[TEST], metrics["data"]["classes"]
    confusion = pd.DataFrame(test["confusion"], index=classes, columns=classes)
    confusions = pd.DataFrame(test["confusions"], columns=["true", "predicted", "images", "of"])
    constant = test.get(CONSTANT_ACC)
    always = "" if constant is None else f"; always answering the largest training class: {constant:.4f}"
    calibration = f"expected {describe_calibration(test)}"
    return [
        f"The final model has a test accuracy of {test['accuracy']:.4f} ({_interval(test)}{test['images']:,} images"
        f"{always}). Top-2 accuracy {test['top2_accuracy']:.4f}, macro F1 {test['macro_f1']:.4f}; {calibration}.",
        f"The best configurations were retrained with {metrics['seeds']} seeds each, and the best mean won. "
        f"{' '.join(metrics['winner']['in_words'])} {metrics['evaluations_in_words']}",
        *([" ".join(metrics["ensemble"]["in_words"])] if metrics.get("ensemble") else []),
        Table("candidates", f"Candidates, by mean {_objective(metrics)['label']} over seeds", _candidates(metrics)),
        Table("classes", "Each class", _classes(test)),
        ReportFigure("confusion", "Confusion matrix", _most_frequent(confusions), plot_confusion(confusion),
                     "Number of test images; colours show the share of the true class.",
                     data=confusion.rename_axis("true").reset_index()),
        Table("confusions", "Most frequent confusions", confusions, folded=True),
        ReportFigure("reliability", "Accuracy against confidence",
                     f"Accuracy against confidence; {calibration}.", plot_reliability(_bins(test)),
                     f"Accuracy of predictions with a similar confidence; calibration error {test['ece']:.4f}.",
                     data=_bins(test)),
    ]  # fmt: skip


def _classes(test: dict[str, Any]) -> pd.DataFrame:
    """One row per class, with the ends of Wilson's interval of its recall beside it."""
    rows = pd.DataFrame(test["per_class"])
    ends = [row["recall_interval"] or (None, None) for row in test["per_class"]]
    place = rows.columns.get_loc("recall_interval")
    rows = rows.drop(columns="recall_interval")
    for offset, name in enumerate(("recall low", "recall high")):
        rows.insert(place + offset, name, [pair[offset] for pair in ends])
    return rows


def _candidates(metrics: dict[str, Any]) -> pd.DataFrame:
    columns = ["trial_id", "name", _objective(metrics)["search_column"], "mean", "sd", "n", "failed"]
    return pd.DataFrame(metrics["candidates"], columns=columns)


def _objective(metrics: dict[str, Any]) -> dict[str, Any]:
    """How the candidates were ranked; earlier versions ranked them by the accuracy."""
    return metrics.get("objective") or {"label": ACCURACY.label, "search_column": f"search_{ACCURACY.column}"}


def _most_frequent(confusions: pd.DataFrame) -> str:
    if not len(confusions):
        return "Confusion matrix: every photo was assigned to its class."
    first = confusions.iloc[0]
    return (
        f"Confusion matrix. Most frequent confusion: {first['true']} predicted as {first['predicted']}, "
        f"{first['images']} of {first['of']}."
    )


def _bins(test: dict[str, Any]) -> pd.DataFrame:
    rows = [
        (b["confidence"], b["accuracy"], *(b["accuracy_interval"] or (None, None)), b["images"])
        for b in test["reliability"]
        if b["images"]
    ]
    return pd.DataFrame(rows, columns=BIN_COLUMNS).astype(float)
