"""Tables and figures of one evaluation: predictions, classes and confusions as CSV, two PNG figures as in the report.

The functions that build rows come first, then the functions that draw; the two private writers stand at the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.final import plot_confusion, plot_reliability
from analysis.figures.style import new_figure, png_bytes, styled
from inat.constants import CLASSES_CSV, CONFUSION_CSV, PREDICTIONS_CSV
from inat.finalize.evaluation_file import Evaluation
from inat.finalize.metrics import Scores
from inat.finalize.test_evaluation import class_probabilities, rank_classes
from inat.study.atomic_io import atomic_replace, csv_lines

PREDICTION_COLUMNS = ("name", "label", "predicted", "confidence")
TRUE = "true class"
MIN_SIDE, MAX_SIDE = 6.0, 30.0  # inches of the confusion matrix
Row = Mapping[str, Any]


def write_tables(directory: Path, evaluation: Evaluation, confusion: NDArray[Any], classes: Sequence[str]) -> None:
    """Write predictions.csv, confusion.csv and classes.csv; ``confusion`` is (classes, classes)."""
    class_rows = [{"index": i, "class": name} for i, name in enumerate(classes)]
    _write_csv(directory / PREDICTIONS_CSV, prediction_rows(evaluation, classes), PREDICTION_COLUMNS)
    _write_csv(directory / CONFUSION_CSV, confusion_rows(confusion, classes), (TRUE, *classes))
    _write_csv(directory / CLASSES_CSV, class_rows, ("index", "class"))


def prediction_rows(evaluation: Evaluation, classes: Sequence[str]) -> list[Row]:
    """One row per test image: file, true class, predicted class and the probability of the predicted class."""
    probabilities = class_probabilities(evaluation)
    predicted, confidence = rank_classes(evaluation.logits)[:, 0], probabilities.max(1)
    return [
        {"name": name, "label": classes[label], "predicted": classes[guess], "confidence": f"{sure:.6f}"}
        for name, label, guess, sure in zip(evaluation.names, evaluation.labels, predicted, confidence, strict=True)
    ]


def confusion_rows(confusion: NDArray[Any], classes: Sequence[str]) -> list[Row]:
    """One row per true class, one column per predicted class."""
    rows = zip(classes, confusion.tolist(), strict=True)
    return [{TRUE: name} | dict(zip(classes, counts, strict=True)) for name, counts in rows]


@styled
def write_confusion(path: Path, confusion: NDArray[Any], classes: Sequence[str]) -> None:
    """Draw the confusion matrix: row = true class, column = predicted class, shade = share of the row."""
    side = min(MAX_SIDE, max(MIN_SIDE, 2.5 + 0.6 * len(classes)))
    axes = new_figure(side + 1.2, side).add_subplot()
    plot_confusion(pd.DataFrame(confusion, index=list(classes), columns=list(classes)), axes)
    _save(axes, f"Test split, {confusion.sum()} images", path)


@styled
def write_reliability(path: Path, scores: Scores) -> None:
    """Draw accuracy against confidence per bin, with Wilson's intervals and the diagonal of a calibrated model."""
    filled = [row for row in scores.reliability if row["images"]]
    bins = pd.DataFrame({name: [row[name] for row in filled] for name in ("confidence", "accuracy", "images")})
    bins[["low", "high"]] = [row["accuracy_interval"] for row in filled]
    axes, values = new_figure(6.5, 6.5).add_subplot(), scores.values
    plot_reliability(bins, axes)
    title = (
        f"Expected calibration error {values['ece']:.3f} (by chance {values['ece_chance']:.3f})\n"
        f"accuracy {values['accuracy']:.3f}, mean confidence {values['mean_confidence']:.3f}"
    )
    _save(axes, title, path)


def _save(axes: Axes, title: str, path: Path) -> None:
    axes.set_title(title)
    figure = axes.figure
    assert isinstance(figure, Figure)
    with atomic_replace(path) as partial:
        partial.write_bytes(png_bytes(figure))


def _write_csv(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    text = csv_lines(rows, columns, header=True)
    # surrogateescape, because a file name need not be valid UTF-8.
    with atomic_replace(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
