"""Parallel coordinates: one line per trial through its hyperparameters, its epochs and its result."""

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

from analysis.comparable import is_accuracy, mask_infinite
from analysis.escaping import escape_plotly
from analysis.figures.style import (
    DARK_SCALE,
    GRID,
    INK,
    MUTED,
    PAPER,
    SCALE,
    axes_or_new,
    colour_map,
    shortened,
    styled,
)
from analysis.schema import BEST_VAL_ACC, EPOCHS, TRIAL_ID
from analysis.stats.encode import MAX_LEVELS, is_logarithmic, is_number, label_of, level_labels, varying_parameters
from analysis.study import StudyData

Array = npt.NDArray[np.float64]

MAX_LINES = 2000  # the best trials; more lines hide one another and make a page heavy
RASTER_LINES = 200  # lines from which an image is smaller than paths
LEVELS, LINEAR, LOGARITHMIC = "levels", "linear", "logarithmic"
TICKS = 5  # on a numeric axis
TICK_STEPS = 20  # unlabelled ticks per labelled one on a logarithmic axis: Plotly snaps a selection to ticks
MAX_TICK_LENGTH = 24  # characters
JITTER = 0.12  # of the distance between two labels: lines through the same value lie side by side


def parallel_lines(study: StudyData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The position of each trial on each axis, and the ticks of the axes.

    First table: one row per trial with a result, at most the MAX_LINES best, worst first so that good trials are drawn
    on top. Index: trial_id. Columns: the hyperparameters that vary, epochs, and best_val_acc or the study's metric.

    Second table: ``axis``, ``kind``, ``position`` and ``label`` of each tick. Numbers with many values are placed at
    their value (LINEAR) or its logarithm to base 10 (LOGARITHMIC), all other values at 0, 1, 2, ... (LEVELS).

    >>> lines, ticks = parallel_lines(study)
    >>> list(lines)[-3:], len(lines)
    (['learning_rate', 'epochs', 'best_val_acc'], 60)
    """
    trials = study.trials[mask_infinite(study.trials[BEST_VAL_ACC]).notna()].set_index(TRIAL_ID)
    trials = trials.loc[(study.sign * trials[BEST_VAL_ACC]).sort_values(kind="stable").tail(MAX_LINES).index]
    lines, ticks = {}, []
    for name in [*varying_parameters(trials, study.parameters), EPOCHS, BEST_VAL_ACC]:
        kind, lines[name], labels = place_on_axis(trials[name], name in (EPOCHS, BEST_VAL_ACC))
        ticks += [(name, kind, float(position), label) for position, label in labels]
    names = {BEST_VAL_ACC: BEST_VAL_ACC if is_accuracy(study.metric) else study.metric, EPOCHS: f"{study.unit}s"}
    table = pd.DataFrame(ticks, columns=["axis", "kind", "position", "label"])
    return pd.DataFrame(lines, index=trials.index).rename(columns=names), table.replace({"axis": names})


def place_on_axis(column: pd.Series, always_number: bool) -> tuple[str, pd.Series, list[tuple[float, str]]]:
    """The kind of an axis, the positions of the trials on it, and its ticks as (position, label).

    ``always_number``: of a number with few values, too, no value is a label.
    """
    drawn = is_number(column) and _is_of_range(column)  # few trials of it have few values
    many = (column.nunique() > MAX_LEVELS or drawn) and len(column) > 1 and not column.isna().any()
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


def _is_of_range(column: pd.Series) -> bool:
    """Whether some numbers are drawn from a range: all differ and are no integers, or one is too long for a choice.

    A trial of the recipe may have the same number as those near it.
    """
    numbers = pd.to_numeric(column.dropna()).astype(float)
    long = any(float(f"{value:.3g}") != value for value in numbers)
    return long or (column.is_unique and not (numbers % 1 == 0).all())


@styled
def plot_parallel(lines: pd.DataFrame, ticks: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the tables of ``parallel_lines``, coloured by the last axis.

    >>> figure = plot_parallel(*parallel_lines(study)).figure
    >>> figure.savefig(path / "parallel.png")
    """
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
    raster = len(points) >= RASTER_LINES
    bundle = LineCollection(points, linewidths=0.9, alpha=0.65, cmap=colours, norm=norm, rasterized=raster)
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
    background = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.6}
    for height, label in zip(heights, labels, strict=True):
        ax.annotate(
            shortened(label, MAX_TICK_LENGTH),
            (place, height),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            bbox=background,
        )
    title = ax.annotate(_title(name), (place, 1.1), annotation_clip=False, rotation=18, fontsize=8.5)
    title.set(ha="left", va="bottom", color=INK)


def _title(name: str) -> str:
    return shortened(name.replace("_", " "), MAX_TICK_LENGTH)


def _span(ticks: pd.DataFrame) -> tuple[float, float]:
    """The lowest position of an axis and its length; a single value is placed in the middle."""
    low, high = float(ticks["position"].min()), float(ticks["position"].max())
    return (low, high - low) if high > low else (low - 0.5, 1.0)


def _positions(column: pd.Series, ticks: pd.DataFrame) -> Array:
    """Where lines cross an axis; lines through the same label get a small seeded offset.

    No line is moved beyond the outermost labels, because Plotly's selections end there.
    """
    values: Array = column.to_numpy(dtype=float)
    if ticks["kind"].iloc[0] != LEVELS:
        return values
    inwards = np.where(values == values.max(), -JITTER, np.where(values == values.min(), JITTER, 0.0))
    spread = np.random.default_rng(0).uniform(-JITTER, JITTER, len(values)).round(3)  # which a page packs well
    return values + inwards + spread


def interactive_parallel(lines: pd.DataFrame, ticks: pd.DataFrame) -> go.Figure:
    """The figure of ``plot_parallel`` for a page: drag along an axis to select trials, or move an axis.

    ``layout.meta`` has the colours for the page's dark mode.

    >>> interactive_parallel(*parallel_lines(study)).write_html(path / "parallel.html")
    """
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
    dark = [list(stop) for stop in _scale(lines.iloc[:, -1], DARK_SCALE)]
    return figure.update_layout(meta={"dark_scale": dark}, height=440, margin={"l": 60, "r": 20, "t": 90, "b": 25})


def _scale(accuracy: pd.Series, scale: Sequence[tuple[float, str]] = SCALE) -> Sequence[tuple[float, str]]:
    """The scale, reversed if the best trials, which come last, have the lowest values."""
    if accuracy.iloc[-1] >= accuracy.iloc[0]:
        return scale
    return [(1.0 - place, colour) for place, colour in reversed(scale)]


def _dimension(column: pd.Series, ticks: pd.DataFrame) -> dict[str, Any]:
    low, span = _span(ticks)
    margin = 0.5 * JITTER
    dimension = {
        "name": str(column.name),
        "label": escape_plotly(_title(str(column.name))),
        "values": _positions(column, ticks).astype(np.float32),  # float32 halves the size of a page
        "range": [low - margin * span, low + (1 + margin) * span],
    }
    if ticks["kind"].iloc[0] == LINEAR:  # without given ticks a selection can start and end anywhere
        return dimension
    positions, labels = ticks["position"].to_numpy(dtype=float), ticks["label"].to_list()
    if ticks["kind"].iloc[0] == LOGARITHMIC:
        labels = [label for text in labels for label in [text, *[""] * (TICK_STEPS - 1)]][
            : (len(labels) - 1) * TICK_STEPS + 1
        ]
        positions = np.linspace(positions[0], positions[-1], len(labels))
    return dimension | {
        "tickvals": positions,
        "ticktext": [escape_plotly(shortened(label, MAX_TICK_LENGTH)) for label in labels],
    }
