"""Parallel coordinates: a line a trial through its hyperparameters, its epochs and its accuracy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize

from analysis.comparable import finite, outcome_name
from analysis.figures.style import GRID, INK, MUTED, SCALE, axes_or_new, colour_map, shortened, styled
from analysis.schema import BEST_VAL_ACC, EPOCHS, TRIAL_ID
from analysis.stats.encode import MAX_LEVELS, is_logarithmic, is_number, label_of, level_labels, varying
from analysis.study import Study

Array = npt.NDArray[np.float64]

MOST_LINES = 2000  # of the best trials; more lines hide one another and make a page heavy
LEVELS, LINEAR, LOGARITHMIC = "levels", "linear", "logarithmic"
TICKS = 5  # of an axis of numbers
FINE = 20  # places between two ticks of a logarithmic axis at which a selection may begin or end
LONGEST = 24  # characters of a label
JITTER = 0.12  # of the distance of two labels: lines through the same value lie side by side


def parallel_lines(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Positions of each trial on each axis, and the labels of the axes.

    The first frame has a row for each trial with an accuracy, the best MOST_LINES of them, worst first, so that good
    ones are drawn above; its index is trial_id, its columns are the hyperparameters that vary, epochs and best_val_acc,
    or what the study calls its metric.
    The second has ``axis``, ``kind``, ``position`` and ``label`` of each tick. Numbers with many values are where they
    are (LINEAR) or at their logarithm to base 10 (LOGARITHMIC), other values at 0, 1, 2, ... (LEVELS).
    """
    trials = study.trials[finite(study.trials[BEST_VAL_ACC]).notna()].set_index(TRIAL_ID)
    trials = trials.loc[(study.sign * trials[BEST_VAL_ACC]).sort_values(kind="stable").tail(MOST_LINES).index]
    lines, ticks = {}, []
    for name in [*varying(trials, study.parameters), EPOCHS, BEST_VAL_ACC]:
        kind, lines[name], found = _axis(trials[name], name in (EPOCHS, BEST_VAL_ACC))
        ticks += [(name, kind, float(position), label) for position, label in found]
    names = {BEST_VAL_ACC: study.metric if outcome_name(study.metric) == study.metric else BEST_VAL_ACC}
    table = pd.DataFrame(ticks, columns=["axis", "kind", "position", "label"])
    return pd.DataFrame(lines, index=trials.index).rename(columns=names), table.replace({"axis": names})


def _axis(column: pd.Series, always_number: bool) -> tuple[str, pd.Series, list[tuple[float, str]]]:
    many = column.nunique() > MAX_LEVELS and not column.isna().any()
    if not (always_number or (many and is_number(column))):
        labels = level_labels(column)
        return LEVELS, labels.cat.codes.astype(float), list(enumerate(map(str, labels.cat.categories)))
    numbers = pd.to_numeric(column).astype(float)
    low, high = float(numbers.min()), float(numbers.max())
    if is_logarithmic(numbers) and not always_number:
        ends = np.geomspace(low, high, TICKS)
        return LOGARITHMIC, np.log10(numbers), [(np.log10(value), f"{value:.2g}") for value in ends]
    ends = np.linspace(low, high, TICKS)
    ends = np.unique(ends.round() if (numbers % 1 == 0).all() else ends)
    return LINEAR, numbers, [(value, label_of(float(f"{value:.3g}"))) for value in ends]


@styled
def plot_parallel(lines: pd.DataFrame, ticks: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the frames of ``parallel_lines``, coloured by the last axis."""
    ax = axes_or_new(ax, height=4.4)
    accuracy = lines.iloc[:, -1]
    norm = Normalize(accuracy.min(), accuracy.max())
    heights = np.empty(lines.shape)
    for place, name in enumerate(lines):
        own = ticks[ticks["axis"].eq(name)]
        low, span = _span(own)
        heights[:, place] = (_positions(lines[name], own) - low) / span
        _draw_axis(ax, place, str(name), [(p - low) / span for p in own["position"]], own["label"].to_list())
    across = np.broadcast_to(np.arange(lines.shape[1], dtype=float), lines.shape)
    points = list(np.stack([across, heights], axis=2))
    colours = colour_map(_scale(accuracy))
    bundle = LineCollection(points, linewidths=0.9, alpha=0.65, cmap=colours, norm=norm, rasterized=True)
    bundle.set_array(accuracy.to_numpy(dtype=float))
    ax.add_collection(bundle)
    ax.set(xlim=(-0.05, max(lines.shape[1] - 0.4, 1)), ylim=(-0.08, 1.08))
    ax.set_axis_off()
    bar = ax.figure.colorbar(ScalarMappable(norm, colours), ax=ax, shrink=0.7, aspect=30, pad=0.01)
    bar.set_label(str(accuracy.name).replace("_", " "))
    bar.outline.set_edgecolor(GRID)
    return ax


def _draw_axis(ax: Axes, place: int, name: str, heights: list[float], labels: list[str]) -> None:
    ax.axvline(place, 0.07, 0.93, color=MUTED, linewidth=0.8)
    paper = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.6}
    for height, label in zip(heights, labels, strict=True):
        ax.annotate(
            shortened(label, LONGEST),
            (place, height),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            bbox=paper,
        )
    title = ax.annotate(_title(name), (place, 1.1), annotation_clip=False, rotation=18, fontsize=8.5)
    title.set(ha="left", va="bottom", color=INK)


def _title(name: str) -> str:
    return shortened(name.replace("_", " "), LONGEST)


def _span(ticks: pd.DataFrame) -> tuple[float, float]:
    """The lowest position of an axis and its length; a single value stands in the middle."""
    low, high = float(ticks["position"].min()), float(ticks["position"].max())
    return (low, high - low) if high > low else (low - 0.5, 1.0)


def _positions(column: pd.Series, ticks: pd.DataFrame) -> Array:
    """Where lines cross an axis: those that meet in a label are set a little apart, seeded.

    None comes to lie beyond the outermost labels, where Plotly's selections end.
    """
    values: Array = column.to_numpy(dtype=float)
    if ticks["kind"].iloc[0] != LEVELS:
        return values
    inwards = np.where(values == values.max(), -JITTER, np.where(values == values.min(), JITTER, 0.0))
    return values + inwards + np.random.default_rng(0).uniform(-JITTER, JITTER, len(values))


def interactive_parallel(lines: pd.DataFrame, ticks: pd.DataFrame) -> go.Figure:
    """The same for a page: dragging along an axis keeps the trials that pass there; axes can be moved."""
    dimensions = [_dimension(lines[name], ticks[ticks["axis"].eq(name)]) for name in lines]
    bar = {"thickness": 10, "outlinewidth": 0, "len": 0.9}
    scale = [list(stop) for stop in _scale(lines.iloc[:, -1])]
    colour = {
        "color": lines.iloc[:, -1].to_numpy(dtype=np.float32),
        "colorscale": scale,
        "showscale": True,
        "colorbar": bar,
    }
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=colour, labelangle=-18, labelside="top"))
    return figure.update_layout(height=440, margin={"l": 60, "r": 20, "t": 90, "b": 25})


def _scale(accuracy: pd.Series) -> Sequence[tuple[float, str]]:
    """SCALE, or the other way round where the best, which come last, have the least values."""
    if accuracy.iloc[-1] >= accuracy.iloc[0]:
        return SCALE
    return [(1.0 - place, colour) for place, colour in reversed(SCALE)]


def _dimension(column: pd.Series, ticks: pd.DataFrame) -> dict[str, Any]:
    low, span = _span(ticks)
    margin = 0.5 * JITTER
    found = {
        "name": str(column.name),
        "label": _title(str(column.name)),
        "values": _positions(column, ticks).astype(np.float32),  # half of the bytes of a page
        "range": [low - margin * span, low + (1 + margin) * span],
    }
    if ticks["kind"].iloc[0] == LINEAR:  # Plotly's own ticks: a selection snaps to ticks that it is given
        return found
    positions, labels = ticks["position"].to_numpy(dtype=float), ticks["label"].to_list()
    if ticks["kind"].iloc[0] == LOGARITHMIC:
        labels = [label for text in labels for label in [text, *[""] * (FINE - 1)]][: (len(labels) - 1) * FINE + 1]
        positions = np.linspace(positions[0], positions[-1], len(labels))
    return found | {"tickvals": positions, "ticktext": [shortened(label, LONGEST) for label in labels]}
