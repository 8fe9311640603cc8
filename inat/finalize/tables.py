"""The tables that finalize writes beside the model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from inat.constants import CLASSES_CSV, CONFUSION_CSV, PREDICTIONS_CSV
from inat.files import csv_lines, replacing
from inat.finalize.testing import Evaluation, probabilities_of, ranking_of

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
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
