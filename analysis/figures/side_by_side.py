"""Figures of a comparison: accuracy against seconds, convergence, and sensitivity to the learning rate."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    axes_or_new,
    log_axis,
    new_figure,
    shortened,
    show_message,
    styled,
)
from analysis.schema import EPOCH, SECONDS
from analysis.side_by_side.groups import GROUP_COLUMNS, group_labels

COLOURS = (BLUE, ORANGE, GREEN, RED, GREY, "#8250b4", "#a67a1d", "#3c8f9e")
STYLES = ("-", "--", ":")  # of the groups beyond the number of colours
MAX_GROUPS = len(COLOURS) * len(STYLES)
MAX_NAME = 34  # characters of a group in a legend
Key = tuple[str, ...]  # values of GROUP_COLUMNS


class Look(NamedTuple):
    """How one group is drawn in every figure of a comparison."""

    label: str
    colour: str
    style: str


def looks_of(table: pd.DataFrame) -> dict[Key, Look]:
    """A label, a colour and a style for the first MAX_GROUPS groups of ``table``, in the order of their names.

    >>> table = pd.DataFrame({"study": ["a"], "network": ["vit"], "strategy": ["lora"]})
    >>> looks_of(table)[("a", "vit", "lora")].label
    'lora'
    """
    groups = table.drop_duplicates(GROUP_COLUMNS).sort_values(GROUP_COLUMNS)[:MAX_GROUPS].reset_index(drop=True)
    keys = [tuple(map(str, row)) for row in groups[GROUP_COLUMNS].itertuples(index=False)]
    labels = group_labels(groups) if len(groups) else []
    return {
        key: Look(_in_legend(label), COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS)])
        for i, (key, label) in enumerate(zip(keys, labels, strict=True))
    }


def _in_legend(label: str) -> str:
    """A label that a legend shows: matplotlib leaves out those that begin with an underscore."""
    text = shortened(label, MAX_NAME)
    return f" {text}" if text.startswith("_") else text


def _rows_of(table: pd.DataFrame, looks: dict[Key, Look] | None) -> Iterator[tuple[pd.DataFrame, Look]]:
    """The rows of each group that has any, with its look."""
    for key, look in (looks_of(table) if looks is None else looks).items():
        rows = table[table[GROUP_COLUMNS].eq(list(key)).all(axis=1)]
        if len(rows):
            yield rows, look


def _legend(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


@styled
def plot_accuracy_seconds(
    table: pd.DataFrame, equal: pd.DataFrame, ax: Axes | None = None, name: str = "accuracy"
) -> Axes:
    """Draw what each group reaches against the seconds of its best trial.

    ``table``: of ``comparison``; ``equal``: of ``equal_budgets``. Dots are the expected best of an equal number of
    trials with its interval, small crosses the best of all trials of the group.

    >>> from analysis.compare import comparison
    >>> from analysis.side_by_side.equal_budgets import equal_budgets
    >>> plot_accuracy_seconds(comparison({"a": study}), equal_budgets({"a": study})).get_xlabel()
    'seconds of the best trial (log scale)'
    """
    ax = axes_or_new(ax, height=3.8)
    merged = table.merge(equal, on=GROUP_COLUMNS, how="left", suffixes=("", "_equal"))
    timed = merged[merged[SECONDS].gt(0)]
    if not len(timed):
        return show_message(ax, "no trial has a time")
    for rows, look in _rows_of(timed, looks_of(table)):
        ax.vlines(rows[SECONDS], rows["low"], rows["high"], color=look.colour, linewidth=1.8)
        ax.scatter(rows[SECONDS], rows["expected_best"], color=look.colour, s=42, zorder=3, label=look.label)
        ax.scatter(rows[SECONDS], rows["best"], color=look.colour, marker="x", s=26, zorder=3)
    n = timed["equal_trials"].iloc[0]
    log_axis(ax)
    trials = "1 trial" if n == 1 else f"{n:.0f} trials"
    ax.set(xlabel="seconds of the best trial (log scale)", ylabel=f"expected best {name} of {trials}")
    _legend(ax)
    return ax


@styled
def plot_convergence(
    curves: pd.DataFrame,
    ax: Axes | None = None,
    name: str = "accuracy",
    unit: str = EPOCH,
    looks: dict[Key, Look] | None = None,
) -> Axes:
    """Draw the table of ``convergence_curves``: the best value so far of each group's best trial.

    >>> from analysis.side_by_side.convergence import convergence_curves
    >>> len(plot_convergence(convergence_curves({"digits": study})).lines)
    1
    """
    ax = axes_or_new(ax, height=3.8)
    if not len(curves):
        return show_message(ax, "the studies have no curves")
    for rows, look in _rows_of(curves, looks):
        ax.plot(rows[EPOCH], rows["value"], color=look.colour, linestyle=look.style, marker="o", markersize=3,
                linewidth=1.6, label=look.label)  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=unit, ylabel=f"best {name} so far, best trial")
    _legend(ax)
    return ax


@styled
def plot_learning_rates(
    curve: pd.DataFrame, ax: Axes | None = None, name: str = "accuracy", looks: dict[Key, Look] | None = None
) -> Axes:
    """Draw the table of ``learning_rate_curve``: the mean result at each learning rate, with intervals.

    >>> from analysis.side_by_side.learning_rates import learning_rate_curve
    >>> plot_learning_rates(learning_rate_curve({"digits": study})).get_xscale()
    'log'
    """
    ax = axes_or_new(ax, height=3.8)
    if not len(curve):
        return show_message(ax, "no group has more than one learning rate")
    for unsorted, look in _rows_of(curve, looks):
        rows = unsorted.sort_values("rate")
        ax.plot(rows["rate"], rows["mean"], color=look.colour, linestyle=look.style, marker="o", markersize=4,
                linewidth=1.6, label=look.label)  # fmt: skip
        ax.vlines(rows["rate"], rows["low"], rows["high"], color=look.colour, linewidth=1.2, alpha=0.7)
    log_axis(ax)
    ax.set(xlabel="learning rate (log scale)", ylabel=f"mean {name}, equal epochs")
    _legend(ax)
    return ax


@styled
def plot_class_gains(gains: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the table of ``class_gains``: the gain in recall of each class, with its interval.

    >>> row = {"class": "Aves", "study": "b", "against": "a", "gain": 0.1, "low": 0.02, "high": 0.2}
    >>> plot_class_gains(pd.DataFrame([row])).get_yticklabels()[0].get_text()
    'Aves: b against a'
    """
    ax = axes_or_new(ax, height=0.9 + 0.28 * max(len(gains), 1))
    if not len(gains):
        return show_message(ax, "fewer than two studies have a final model")
    places = -np.arange(len(gains), dtype=float)
    sure = (gains["low"] > 0) | (gains["high"] < 0)
    colours = np.where(~sure, GREY, np.where(gains["gain"] > 0, BLUE, RED)).tolist()
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.hlines(places, gains["low"], gains["high"], colors=colours, linewidth=1.8)
    ax.scatter(gains["gain"], places, color=colours, s=26, zorder=3)
    texts = [
        shortened(f"{label}: {study} against {other}", 60)
        for label, study, other in zip(gains["class"], gains["study"], gains["against"], strict=True)
    ]
    ax.set_yticks(places, texts, fontsize=8.5)
    ax.set(xlabel="gain in recall on the test photos, with 95 % interval")
    return ax


@styled
def plot_comparison(
    table: pd.DataFrame, equal: pd.DataFrame, curves: pd.DataFrame, rates: pd.DataFrame, name: str = "accuracy"
) -> list[Axes]:
    """Draw accuracy against seconds, convergence and learning rates below each other, for a file.

    >>> from analysis.compare import comparison
    >>> from analysis.side_by_side.equal_budgets import equal_budgets
    >>> no_curves, no_rates = pd.DataFrame(), pd.DataFrame()
    >>> len(plot_comparison(comparison({"a": study}), equal_budgets({"a": study}), no_curves, no_rates))
    3
    """
    axes = list(new_figure(height=10.5).subplots(3, 1, squeeze=False).flat)
    plot_accuracy_seconds(table, equal, axes[0], name)
    looks = looks_of(table)
    plot_convergence(curves, axes[1], name, looks=looks)
    plot_learning_rates(rates, axes[2], name, looks)
    return axes
