"""Figures of a data set: how many images each class has, and how a property of the images is distributed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    ROW_HEIGHT,
    axes_or_new,
    new_figure,
    shortened,
    styled,
)

COLOURS = (BLUE, ORANGE, GREEN, GREY, INK)  # of splits, in the order of the columns
MAX_CLASSES = 40  # with more, the largest and the smallest are drawn
MAX_NAME_LENGTH = 28  # characters of a class name
BINS = 40


class Distribution(NamedTuple):
    """Values of one property of the images, one per image; ``lines`` are marked positions with their labels."""

    values: NDArray[np.float64]
    label: str
    lines: Sequence[tuple[float, str]] = ()


def drawn_classes(counts: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``counts`` that are drawn: all, or the first and last of more than MAX_CLASSES."""
    if len(counts) <= MAX_CLASSES:
        return counts
    return pd.concat([counts.head(MAX_CLASSES // 2), counts.tail(MAX_CLASSES // 2)])


@styled
def plot_class_counts(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw one bar per class; ``counts`` has one row per class and one column per split.

    >>> counts = pd.DataFrame({"train": [8, 4], "val": [2, 1]}, index=["cat", "dog"])
    >>> [label.get_text() for label in plot_class_counts(counts).get_yticklabels()]
    ['cat', 'dog']
    """
    counts = drawn_classes(counts)
    ax = axes_or_new(ax, height=1.1 + ROW_HEIGHT * len(counts))
    places, start = range(len(counts)), np.zeros(len(counts))
    for column, colour in zip(counts, COLOURS, strict=False):
        ax.barh(places, counts[column], left=start, color=colour, height=0.72, label=column)
        start += counts[column].to_numpy(float)
    for place, total in enumerate(start):
        ax.annotate(f"{total:,.0f}", (total, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_yticks(places, [shortened(name, MAX_NAME_LENGTH) for name in counts.index], fontsize=8.5)
    ax.set(xlabel="photos", ylim=(len(counts) - 0.4, -0.6), xlim=(0, max(1, start.max(initial=0)) * 1.06))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(visible=False, axis="y")
    if counts.shape[1] > 1:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=counts.shape[1], borderaxespad=0.2)
    return ax


@styled
def plot_distributions(distributions: Sequence[Distribution]) -> Axes:
    """Draw a histogram of each property beside the others; returns the first one's axes.

    >>> plot_distributions([Distribution(np.array([1.0, 2.0]), "width / height")]).get_xlabel()
    'width / height'
    """
    figure = new_figure(height=2.7)
    axes = figure.subplots(1, len(distributions), squeeze=False)[0]
    for ax, (values, label, lines) in zip(axes, distributions, strict=True):
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        if low == high:
            low, high = low - max(0.5, abs(low) / 2), high + max(0.5, abs(high) / 2)
        ax.hist(values, bins=BINS, range=(low, high), color=BLUE)
        for place, text in lines:
            ax.axvline(place, color=ORANGE, linewidth=1.4)
            ax.annotate(text, (place, 1), (4, 2), xycoords=("data", "axes fraction"), textcoords="offset points",
                        color=INK, fontsize=8.5)  # fmt: skip
        ax.set(xlabel=label, ylabel="photos" if ax is axes[0] else "")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    first: Axes = axes[0]
    return first
