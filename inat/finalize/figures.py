"""The pictures of one evaluation, drawn as the report draws them: confusion matrix and reliability diagram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.final import plot_confusion, plot_reliability
from analysis.figures.style import new_figure, png_bytes, styled
from inat.files import replacing
from inat.finalize.metrics import Scores

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
    with replacing(path) as partial:
        partial.write_bytes(png_bytes(figure))
