"""The section about a study's final model, which ``python -m inat.finalize`` writes."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.final import plot_confusion, plot_reliability
from analysis.report.model import Fact, Item, Picture, Section, Table
from analysis.schema import FINAL_DIR, METRICS_JSON, TEST

FORMAT = 1  # of metrics.json; another one is not guessed at
BINS = ["confidence", "accuracy", "low", "high", "images"]


def read_final(path: Path) -> dict[str, Any]:
    """metrics.json of a study's final/ directory; nothing if there is none, or one of another format."""
    try:
        found = json.loads((path / FINAL_DIR / METRICS_JSON).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT and found.get(TEST) else {}


def final_fact(metrics: dict[str, Any]) -> list[Fact]:
    """Its test accuracy, for the first screen."""
    if not metrics:
        return []
    test, winner = metrics[TEST], metrics["winner"]
    ends = test["accuracy_interval"]
    between = f", {ends[0]:.3f} to {ends[1]:.3f} (95 %)" if ends else ""  # none of a single image
    note = f"test accuracy of {winner['trial_id']} retrained{between}, {test['images']:,} images"
    return [Fact("final model", f"{test['accuracy']:.4f}", note)]


def final_section(metrics: dict[str, Any]) -> list[Section]:
    """How the final model was chosen and how it does on the test split; nothing before there is one."""
    return [Section("final", "Final model", _items(metrics))] if metrics else []


def _items(metrics: dict[str, Any]) -> list[Item]:
    test, classes = metrics[TEST], metrics["data"]["classes"]
    confusion = pd.DataFrame(test["confusion"], index=classes, columns=classes)
    confusions = pd.DataFrame(test["confusions"], columns=["true", "predicted", "images", "of"])
    return [
        f"The best configurations were trained anew on {metrics['seeds']} seeds each, and the best mean won. "
        f"{' '.join(metrics['winner']['in_words'])} {metrics['evaluations_in_words']}",
        Table("candidates", "Candidates, by mean validation accuracy over seeds", _candidates(metrics)),
        f"Test: accuracy {test['accuracy']:.4f}, top-2 {test['top2_accuracy']:.4f}, macro F1 {test['macro_f1']:.4f}; "
        f"the largest class alone would be {test['majority_share']:.4f}. Expected calibration error {test['ece']:.4f}.",
        Table("classes", "Each class", pd.DataFrame(test["per_class"]).drop(columns="recall_interval")),
        Picture("confusion", _worst(confusions), plot_confusion(confusion)),
        Table("confusions", "Most frequent confusions", confusions, folded=True),
        Picture("reliability", f"Accuracy by confidence; expected calibration error {test['ece']:.3f}.",
                plot_reliability(_bins(test))),
    ]  # fmt: skip


def _candidates(metrics: dict[str, Any]) -> pd.DataFrame:
    columns = ["trial_id", "name", "search_val_acc", "mean", "sd", "n", "failed"]
    return pd.DataFrame(metrics["candidates"], columns=columns)


def _worst(confusions: pd.DataFrame) -> str:
    if not len(confusions):
        return "Confusion matrix: no photo was taken for another class."
    first = confusions.iloc[0]
    return (
        f"Confusion matrix; most often {first['true']} is taken for {first['predicted']}, "
        f"{first['images']} of {first['of']}."
    )


def _bins(test: dict[str, Any]) -> pd.DataFrame:
    rows = [
        (b["confidence"], b["accuracy"], *(b["accuracy_interval"] or (None, None)), b["images"])
        for b in test["reliability"]
        if b["images"]
    ]
    return pd.DataFrame(rows, columns=BINS).astype(float)
