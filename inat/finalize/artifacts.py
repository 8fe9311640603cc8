"""The pictures of one evaluation, drawn as the report draws them: confusion matrix and reliability diagram."""

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
from inat.finalize.metrics import Scores
from inat.finalize.test_evaluation import Evaluation, probabilities_of, ranking_of
from inat.study.atomic_io import atomic_replace, csv_lines

LEAST, MOST = 6.0, 30.0  # inches of a side


@styled
def write_confusion(path: Path, confusion: NDArray[Any], classes: Sequence[str]) -> None:
    """Counts with the true class in rows and the predicted one in columns; the shade is the share of the row."""
    side = min(MOST, max(LEAST, 2.5 + 0.6 * len(classes)))
    axes = new_figure(side + 1.2, side).add_subplot()
    plot_confusion(pd.DataFrame(confusion, index=list(classes), columns=list(classes)), axes)
    _save(axes, f"Test split, {confusion.sum()} images", path)


@styled
def write_reliability(path: Path, scores: Scores) -> None:
    """Accuracy against confidence, bin by bin, with Wilson's intervals, and the diagonal of a calibrated model."""
    filled = [row for row in scores.reliability if row["images"]]
    bins = pd.DataFrame({name: [row[name] for row in filled] for name in ("confidence", "accuracy", "images")})
    bins[["low", "high"]] = [row["accuracy_interval"] for row in filled]
    axes, values = new_figure(6.5, 6.5).add_subplot(), scores.values
    plot_reliability(bins, axes)
    title = (
        f"Expected calibration error {values['ece']:.3f}\n"
        f"accuracy {values['accuracy']:.3f}, mean confidence {values['mean_confidence']:.3f}"
    )
    _save(axes, title, path)


def _save(axes: Axes, title: str, path: Path) -> None:
    axes.set_title(title)
    figure = axes.figure
    assert isinstance(figure, Figure)
    with atomic_replace(path) as partial:
        partial.write_bytes(png_bytes(figure))


PREDICTION_COLUMNS = ("name", "label", "predicted", "confidence")
TRUE = "true class"
Row = Mapping[str, Any]


def write_tables(directory: Path, tested: Evaluation, confusion: NDArray[Any], classes: Sequence[str]) -> None:
    """predictions.csv, confusion.csv and classes.csv, from what was kept of the one evaluation."""
    _write(directory / PREDICTIONS_CSV, prediction_rows(tested, classes), PREDICTION_COLUMNS)
    _write(directory / CONFUSION_CSV, confusion_rows(confusion, classes), (TRUE, *classes))
    _write(directory / CLASSES_CSV, [{"index": i, "class": name} for i, name in enumerate(classes)], ("index", "class"))


def prediction_rows(tested: Evaluation, classes: Sequence[str]) -> list[Row]:
    """One row an image of the test split, in its order: file, true and predicted class, probability of the latter."""
    probabilities = probabilities_of(tested)
    predicted, confidence = ranking_of(tested.logits)[:, 0], probabilities.max(1)
    return [
        {"name": name, "label": classes[label], "predicted": classes[guess], "confidence": f"{sure:.6f}"}
        for name, label, guess, sure in zip(tested.names, tested.labels, predicted, confidence, strict=True)
    ]


def confusion_rows(confusion: NDArray[Any], classes: Sequence[str]) -> list[Row]:
    """One row a true class, one column a predicted one."""
    rows = zip(classes, confusion.tolist(), strict=True)
    return [{TRUE: name} | dict(zip(classes, counts, strict=True)) for name, counts in rows]


def _write(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    text = csv_lines(rows, columns, header=True)
    # Names of files need not be UTF-8.
    with atomic_replace(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
