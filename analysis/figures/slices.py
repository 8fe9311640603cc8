"""Slices: the result of each trial at one budget against each hyperparameter."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from plotly.subplots import make_subplots

from analysis.comparable import ACCURACY, Sample, axis_name
from analysis.escaping import escape_plotly, printable
from analysis.figures.parallel import LEVELS, place_on_axis
from analysis.figures.style import BLUE, GREY, ORANGE, colour_map, new_figure, shortened, styled
from analysis.schema import CREATED, TRIAL_ID
from analysis.wording import counted

COLUMNS = 4
MAX_PANELS = 12
MAX_DOTS = 1000  # of a budget
RASTER_DOTS = 200  # from which an image is smaller than paths
MAX_LABEL = 16  # characters of a tick
JITTER = 0.18  # of the distance between two labels
ORDER = ((0.0, GREY), (0.5, BLUE), (1.0, ORANGE))  # early trials to late ones


class Panel(NamedTuple):
    """Where the trials of a sample lie on the axis of one hyperparameter, and its ticks as (position, label)."""

    name: str
    places: np.ndarray
    ticks: list[tuple[float, str]]


def sample_title(sample: Sample) -> str:
    """The budget of a sample and how many trials it has: the title of a chart, and the text of a choice.

    >>> from analysis.comparable import sample_at
    >>> sample_title(sample_at(study, 9))
    'within 9 epochs: 30 of 60 trials'
    """
    return f"{sample.within}: {len(sample):,} of {counted(sample.total, 'trial')}"


def slice_table(sample: Sample, names: Sequence[str]) -> pd.DataFrame:
    """The trials of a slice in the order of creation, at most MAX_DOTS evenly from it; ``result`` is within the budget.

    >>> from analysis.comparable import sample_at
    >>> list(slice_table(sample_at(study), ["batch_norm"]))
    ['trial_id', 'batch_norm', 'epochs', 'result']
    """
    trials = sample.trials.sort_values(CREATED, kind="stable") if CREATED in sample.trials else sample.trials
    if len(trials) > MAX_DOTS:
        trials = trials.iloc[np.linspace(0, len(trials) - 1, MAX_DOTS).round().astype(int)]
    table = trials[[TRIAL_ID, *names]].assign(epochs=sample.epochs, result=trials[ACCURACY])
    return table.reset_index(drop=True)


def panels_of(table: pd.DataFrame, names: Sequence[str]) -> list[Panel]:
    """The panels of a table of ``slice_table``; dots at the same label are spread a little around it."""
    panels = []
    for number, name in enumerate(names):
        kind, places, ticks = place_on_axis(table[name], always_number=False)
        values = places.to_numpy(dtype=float)
        if kind == LEVELS:
            spread = np.random.default_rng(number).uniform(-JITTER, JITTER, len(values))
            values = values + spread.round(2)  # short numbers, which a page packs well
        panels.append(Panel(name, values, [(float(at), shortened(label, MAX_LABEL)) for at, label in ticks]))
    return panels


@styled
def plot_slices(sample: Sample, names: Sequence[str]) -> Axes:
    """Draw the result against each of the hyperparameters ``names``; returns the first axes.

    >>> from analysis.comparable import sample_at
    >>> plot_slices(sample_at(study), ["batch_norm", "learning_rate"]).get_ylabel()
    'accuracy within 3 epochs'
    """
    table = slice_table(sample, names)
    panels = panels_of(table, names)
    rows, columns = -(-len(panels) // COLUMNS), min(len(panels), COLUMNS)
    figure = new_figure(height=0.4 + 2.5 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    order, raster = np.arange(len(table)), len(table) * len(panels) > RASTER_DOTS
    for unused in list(grid.flat)[len(panels) :]:
        unused.set_axis_off()
    for panel, ax in zip(panels, grid.flat, strict=False):
        dots = ax.scatter(panel.places, table["result"], c=order, cmap=colour_map(ORDER), s=11, linewidths=0,
                          rasterized=raster)  # fmt: skip
        places, labels = zip(*panel.ticks, strict=True)
        ax.set_xticks(places, labels, rotation=30 if max(map(len, labels)) > 5 else 0, fontsize=8)
        ax.set_title(shortened(panel.name.replace("_", " ")), fontsize=9.5)
    for row in grid:
        row[0].set_ylabel(f"{axis_name(sample.metric)} {sample.within}")
    bar = figure.colorbar(dots, ax=grid.ravel().tolist(), aspect=40, pad=0.01, label="trial, in order of creation")
    bar.outline.set_visible(False)
    first: Axes = grid[0][0]
    return first


def interactive_slices(samples: Sequence[Sample], start: int, names: Sequence[str]) -> go.Figure:
    """The figure of ``plot_slices`` for a page, whose user chooses one of the budgets; ``start`` is the first choice.

    ``layout.meta.shared`` has what the panels of a budget share, and the page's script adds it to their traces.
    """
    rows, columns = -(-len(names) // COLUMNS), min(len(names), COLUMNS)
    titles = [escape_plotly(shortened(name.replace("_", " "))) for name in names]
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.04, vertical_spacing=0.3 / rows)
    shared: list[dict[str, Any]] = []
    for number, sample in enumerate(samples):
        table = slice_table(sample, names)
        shared.append(_shared(table))
        title = f"{axis_name(sample.metric)} {sample_title(sample)}"
        layout: dict[str, Any] = {"title": {"text": escape_plotly(title)}}
        for place, panel in enumerate(panels_of(table, names)):
            axis = "xaxis" if not place else f"xaxis{place + 1}"
            layout |= {axis: _ticks(panel)}
            meta = {"choice": {"budget": number}, "shared": number, "layout": layout}
            figure.add_scatter(
                x=panel.places.astype(np.float32), mode="markers", showlegend=False, meta=meta, visible=number == start,
                hovertemplate="%{text}<br>%{y:.4f}<extra></extra>",
                row=place // columns + 1, col=place % columns + 1,
            )  # fmt: skip
            layout = {}
    for place in range(len(names)):
        own = {"showticklabels": place % columns == 0, **({"matches": "y"} if place else {})}
        figure.update_yaxes(**own, row=place // columns + 1, col=place % columns + 1)
    choice = {"name": "budget", "label": "Budget", "options": [sample_title(one) for one in samples], "start": start}
    figure.update_layout(meta={"choices": [choice], "shared": shared}, coloraxis=_order_bar())
    place_of_title = {"x": 0.01, "xanchor": "left", "font": {"size": 14}}
    return figure.update_layout(
        height=230 * rows + 90, margin={"l": 60, "r": 20, "t": 80, "b": 60}, title=place_of_title
    )


def _shared(table: pd.DataFrame) -> dict[str, Any]:
    ids = [printable(str(trial)) for trial in table[TRIAL_ID]]
    marker = {"color": list(range(1, len(ids) + 1)), "coloraxis": "coloraxis", "size": 6, "opacity": 0.85}
    return {"ids": ids, "y": [float(f"{value:.6g}") for value in table["result"]], "marker": marker}


def _order_bar() -> dict[str, Any]:
    bar = {"title": {"text": "order of creation", "side": "right"}, "thickness": 10, "outlinewidth": 0}
    bar |= {"lenmode": "pixels", "len": 220, "y": 1, "yanchor": "top"}
    return {"colorscale": [list(stop) for stop in ORDER], "colorbar": bar}


def _ticks(panel: Panel) -> dict[str, Any]:
    labels = [escape_plotly(label) for _, label in panel.ticks]
    return {"tickvals": [place for place, _ in panel.ticks], "ticktext": labels, "zeroline": False}
