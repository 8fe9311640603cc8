"""The pictures of one evaluation: confusion matrix and reliability diagram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws into files, whatever screen there is
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inat.files import replacing
from inat.finalize.metrics import Scores

MOST_NUMBERS = 30  # classes up to which each cell shows its count
DPI = 150


def write_confusion(path: Path, confusion: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Counts with the true class in rows and the predicted one in columns; the shade is the share of the row."""
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = min(30.0, 2.5 + 0.6 * min(len(classes), MOST_NUMBERS))
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axes.set(xlabel="predicted class", ylabel="true class", title=f"Test split, {confusion.sum()} images")
    axes.set_xticks(ticks, classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, classes)
    for row, column in np.argwhere(confusion) if len(classes) <= MOST_NUMBERS else ():
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, confusion[row, column], ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    _save(figure, path)


def write_reliability(path: Path, scores: Scores) -> None:
    """Accuracy against confidence, bin by bin, with the diagonal of a calibrated model; below, images a bin."""
    bins = scores.reliability
    figure = Figure(figsize=(5.5, 6.6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle="--", label="calibrated")
    filled = [row for row in bins if row["images"]]
    _bars(upper, filled, "accuracy", "accuracy in the bin")
    middles, heights = ([row[name] for row in filled] for name in ("confidence", "accuracy"))
    reach = [[abs(row["accuracy_interval"][end] - row["accuracy"]) for row in filled] for end in (0, 1)]
    upper.errorbar(
        middles, heights, reach, fmt="o", color="black", markersize=4, capsize=3,
        label="at the mean confidence, with Wilson's interval",
    )  # fmt: skip
    values = scores.values
    upper.set(
        ylabel="accuracy", ylim=(0, 1.02), xlim=(0, 1),
        title=f"Expected calibration error {values['ece']:.3f}\n"
        f"accuracy {values['accuracy']:.3f}, mean confidence {values['mean_confidence']:.3f}",
    )  # fmt: skip
    figure.legend(loc="outside lower center")
    lower.bar_label(_bars(lower, bins, "images", "_"), fontsize=8)
    lower.set(xlabel="confidence", ylabel="images")
    lower.margins(y=0.2)
    _save(figure, path)


def _bars(axes: Any, bins: Sequence[dict[str, Any]], value: str, label: str) -> Any:
    widths = [row["high"] - row["low"] for row in bins]
    heights = [row[value] for row in bins]
    return axes.bar(
        [row["low"] for row in bins], heights, widths, align="edge", color="#7aa6d8", edgecolor="white", label=label
    )


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_figure(partial, dpi=DPI, format="png")
