import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.figures.final import plot_reliability
from inat.errors import DiskFullError
from inat.finalize import artifacts
from inat.finalize.artifacts import write_confusion, write_reliability, write_tables
from inat.finalize.evaluation_file import Evaluation
from inat.finalize.metrics import compute_scores


def test_the_confusion_matrix_is_dark_where_the_images_are(tmp_path):
    path = tmp_path / "confusion.png"
    write_confusion(path, np.array([[5, 0], [0, 5]]), ("ant", "bee"))
    right = np.asarray(Image.open(path).convert("L"), float)
    write_confusion(path, np.array([[0, 5], [5, 0]]), ("ant", "bee"))
    wrong = np.asarray(Image.open(path).convert("L"), float)
    height, width = right.shape
    upper_left = (slice(height // 5, height // 3), slice(width // 5, width // 3))
    assert right[upper_left].mean() < wrong[upper_left].mean() - 50


@pytest.mark.parametrize("classes", [1, 10, 120])
def test_any_number_of_classes_fits_into_the_figure(tmp_path, classes):
    names = [f"class {i}" for i in range(classes)]
    write_confusion(tmp_path / "confusion.png", np.eye(classes, dtype=int), names)
    assert max(Image.open(tmp_path / "confusion.png").size) < 5000


def test_the_reliability_diagram_is_the_one_of_the_report_and_leaves_out_empty_bins(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        artifacts, "plot_reliability", lambda bins, axes: drawn.append((bins, plot_reliability(bins, axes)))
    )
    logits = np.log(np.array([[0.95, 0.05], [0.55, 0.45]], np.float32))
    scores = compute_scores(logits, np.array([0, 1]), ("ant", "bee"), [1, 1])
    write_reliability(tmp_path / "reliability.png", scores)
    assert Image.open(tmp_path / "reliability.png").format == "PNG"
    ((bins, axes),) = drawn
    assert bins["confidence"].tolist() == pytest.approx([0.55, 0.95])
    assert bins[["low", "high"]].to_numpy().tolist() == [
        row["accuracy_interval"] for row in scores.reliability if row["images"]
    ]
    assert [text.get_text() for text in axes.texts] == ["1", "1"]
    assert axes.get_title(loc="left").startswith("Expected calibration error")


def test_a_full_disk_is_reported(tmp_path, monkeypatch):
    def no_room(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(DiskFullError, match="run the same command again"):
        write_confusion(tmp_path / "confusion.png", np.eye(2, dtype=int), ("ant", "bee"))
    assert list(tmp_path.iterdir()) == []


def rows(path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def test_each_image_has_a_row_and_the_counts_are_by_true_class(tmp_path):
    logits = np.log(np.array([[0.75, 0.25], [0.4, 0.6], [0.9, 0.1]], np.float32))
    evaluation = Evaluation(
        logits, np.array([0, 1, 1]), ("val/ant/1.jpg", "val/bee/2,3.jpg", "val/bee/\udcff.jpg"), "sha", 1, "32-true"
    )
    write_tables(tmp_path, evaluation, np.array([[1, 0], [1, 1]]), ("ant", "bee"))
    assert rows(tmp_path / "predictions.csv") == [
        ["name", "label", "predicted", "confidence"],
        ["val/ant/1.jpg", "ant", "ant", "0.750000"],
        ["val/bee/2,3.jpg", "bee", "bee", "0.600000"],
        ["val/bee/\udcff.jpg", "bee", "ant", "0.900000"],
    ]
    assert rows(tmp_path / "confusion.csv") == [["true class", "ant", "bee"], ["ant", "1", "0"], ["bee", "1", "1"]]
    assert rows(tmp_path / "classes.csv") == [["index", "class"], ["0", "ant"], ["1", "bee"]]
