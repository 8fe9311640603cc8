"""Figures of the final model on the test split: which classes it confuses, and how well it is calibrated."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import BLUE, BLUES, INK, MUTED, ORANGE, STRONG, axes_or_new, colour_map, shortened, styled

MAX_COUNTED_CLASSES = 25  # with more classes the cells are too small for numbers
MAX_NAME_LENGTH = 18  # characters of a class name


@styled
def plot_confusion(confusion: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix of counts: one row per true class, one column per predicted class.

    Colours show the share of the true class; a cell without images is empty and its 0 is grey.

    >>> counts = pd.DataFrame([[5, 1], [2, 2]], index=["cat", "dog"], columns=["cat", "dog"])
    >>> [text.get_text() for text in plot_confusion(counts).texts]
    ['5', '1', '2', '2']
    """
    counts = confusion.to_numpy(dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax = axes_or_new(ax, height=1.5 + 0.36 * len(confusion))
    filled = np.ma.masked_equal(shares, 0)
    image = ax.imshow(filled, cmap=colour_map(BLUES), vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(counts.shape if len(confusion) <= MAX_COUNTED_CLASSES else (0, 0)):
        colour = "white" if shares[i, j] > STRONG else INK if counts[i, j] else MUTED
        ax.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    names = [shortened(name, MAX_NAME_LENGTH) for name in confusion.index]
    ax.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8.5)
    ax.set_yticks(range(len(names)), names, fontsize=8.5)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(visible=False)
    bar = ax.figure.colorbar(image, ax=ax, aspect=20, pad=0.02, label="share of the true class")
    bar.outline.set_visible(False)
    return ax


@styled
def plot_reliability(bins: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw accuracy against confidence; ``bins`` has the columns confidence, accuracy, low, high and images.

    On the diagonal, predictions with a confidence of 0.8 are correct in 8 of 10 cases. Below it the model is
    overconfident.

    >>> bins = pd.DataFrame({"confidence": [0.8], "accuracy": [0.7], "low": [0.4], "high": [0.9], "images": [10]})
    >>> plot_reliability(bins).get_xlabel()
    'mean confidence'
    """
    ax = axes_or_new(ax, height=3.6)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="perfect calibration")
    ax.vlines(bins["confidence"], bins["low"], bins["high"], color=BLUE, linewidth=1.5, label="95 % interval")
    ax.scatter(bins["confidence"], bins["accuracy"], s=10 + 120 * bins["images"] / bins["images"].max(), color=ORANGE,
               zorder=3, label="photos with a similar confidence, and their number")  # fmt: skip
    for confidence, accuracy, images in zip(bins["confidence"], bins["accuracy"], bins["images"], strict=True):
        ax.annotate(f"{images:.0f}", (confidence, accuracy), (8, -4), textcoords="offset points", fontsize=8, color=INK)
    ax.set(xlabel="mean confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    ax.legend(loc="upper left")
    return ax
