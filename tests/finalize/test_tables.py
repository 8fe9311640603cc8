import csv

import numpy as np

from inat.finalize.tables import write_tables
from inat.finalize.testing import Evaluation


def rows(path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def test_each_image_has_a_row_and_the_counts_are_by_true_class(tmp_path):
    logits = np.log(np.array([[0.75, 0.25], [0.4, 0.6], [0.9, 0.1]], np.float32))
    tested = Evaluation(
        logits, np.array([0, 1, 1]), ("val/ant/1.jpg", "val/bee/2,3.jpg", "val/bee/\udcff.jpg"), "sha", 1, "32-true"
    )
    write_tables(tmp_path, tested, np.array([[1, 0], [1, 1]]), ("ant", "bee"))
    assert rows(tmp_path / "predictions.csv") == [
        ["name", "label", "predicted", "confidence"],
        ["val/ant/1.jpg", "ant", "ant", "0.750000"],
        ["val/bee/2,3.jpg", "bee", "bee", "0.600000"],
        ["val/bee/\udcff.jpg", "bee", "ant", "0.900000"],
    ]
    assert rows(tmp_path / "confusion.csv") == [["true class", "ant", "bee"], ["ant", "1", "0"], ["bee", "1", "1"]]
    assert rows(tmp_path / "classes.csv") == [["index", "class"], ["0", "ant"], ["1", "bee"]]
