"""The figure of results against costs, with the Pareto fronts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from plotly.subplots import make_subplots

from analysis.costs.pareto import EPOCH_SECONDS, NETWORKS, NO_BETTER, STOPPED_EARLY, WHOLE
from analysis.escaping import escape_plotly, printable
from analysis.figures.style import BLUE, GREY, ORANGE, log_axis, new_figure, shortened, styled
from analysis.schema import NAME, SECONDS, STATE, STOPPED, TRIAL_ID
from analysis.wording import counted

COLUMNS = 2
LOG_FROM = 8.0  # ratio of the highest to the lowest cost from which the axis is logarithmic
RASTER_DOTS = 100  # of a group, from which an image is smaller than paths
MAX_NAME = 60  # characters of a trial's name on hover
FRONT, COMPARED, STOPPED_LATER = "Pareto front", "other trials", "trials stopped later"


class Panel(NamedTuple):
    """One comparison by one kind of cost: the points, the title and the label of the axis."""

    points: pd.DataFrame
    title: str
    axis: str


def panels_of(points: pd.DataFrame, unit: str = "epoch") -> list[Panel]:
    """The panels of a table of ``analysis.costs.pareto.cost_points``.

    >>> from analysis.comparable import sample_at
    >>> from analysis.costs.pareto import cost_points
    >>> [panel.title for panel in panels_of(cost_points(study, sample_at(study)))]
    ['whole trainings', 'all trials within 3 epochs']
    """
    return [
        Panel(own, _title(own, unit), _axis(own, unit))
        for _, own in points.groupby(["cost_kind", "compared"], sort=False)
    ]


def _title(points: pd.DataFrame, unit: str) -> str:
    if points["compared"].iloc[0] == WHOLE:
        return "whole trainings"
    if points["compared"].iloc[0] == NETWORKS:
        return "all networks"
    return f"all trials within {counted(points['epochs'].iloc[0], unit)}"


def _axis(points: pd.DataFrame, unit: str) -> str:
    kind = points["cost_kind"].iloc[0]
    if kind != SECONDS:
        return "trained parameters" if kind != EPOCH_SECONDS else f"seconds per {unit}, median of the trial"
    if points["compared"].iloc[0] == WHOLE:
        return "training seconds of the trial"
    return f"training seconds of the first {first_words(points, unit)}"


def first_words(points: pd.DataFrame, unit: str = "epoch") -> str:
    """The budget of a comparison within some epochs, after the word "first": "epoch" or "3 epochs"."""
    epochs = points["epochs"].iloc[0]
    return unit if epochs == 1 else counted(epochs, unit)


class Group(NamedTuple):
    """Points that look alike: ``filled`` circles or rings, or the front's own."""

    label: str
    points: pd.DataFrame
    colour: str
    filled: bool


def groups_of(points: pd.DataFrame) -> list[Group]:
    """The points of a panel by how they are drawn; stopped trials are rings, and only compared ones have a colour."""
    stopped, front = points[STATE].eq(STOPPED), points["front"]
    compared = points["left_out"].eq("") & ~front
    groups = [
        Group(f"{STOPPED_EARLY}, not compared", points[points["left_out"].eq(STOPPED_EARLY)], GREY, filled=False),
        Group(NO_BETTER, points[points["left_out"].eq(NO_BETTER)], GREY, filled=True),
        Group(STOPPED_LATER, points[compared & stopped], BLUE, filled=False),
        Group(COMPARED, points[compared & ~stopped], BLUE, filled=True),
        Group(FRONT, points[front].sort_values("cost", kind="stable"), ORANGE, filled=True),
    ]
    return [group for group in groups if len(group.points)]


@styled
def plot_costs(
    points: pd.DataFrame, axes: Sequence[Axes] | None = None, name: str = "result", unit: str = "epoch"
) -> list[Axes]:
    """Draw a table of ``analysis.costs.pareto.cost_points``, one axes per comparison and kind of cost.

    >>> from analysis.costs.pareto import cost_points
    >>> plot_costs(cost_points(study))[0].get_xlabel()
    'training seconds of the trial'
    """
    panels = panels_of(points, unit)
    if axes is None:
        rows, columns = -(-len(panels) // COLUMNS), min(len(panels), COLUMNS)
        axes = list(new_figure(height=0.5 + 3.0 * rows).subplots(rows, columns, squeeze=False).flat)
        for unused in axes[len(panels) :]:
            unused.set_axis_off()
    for panel, ax in zip(panels, axes, strict=False):
        for label, own, colour, filled in groups_of(panel.points):
            ax.scatter(
                own["cost"], own["result"], s=24, linewidths=1.2, edgecolors=colour, label=label,
                facecolors=colour if filled else "none", zorder=3 if label == FRONT else 2,
                rasterized=len(own) > RASTER_DOTS,
            )  # fmt: skip
            if label == FRONT:
                ax.step(own["cost"], own["result"], where="post", color=ORANGE, linewidth=1.4)
        if is_wide(panel.points["cost"]):
            log_axis(ax)
        ax.xaxis.set_major_formatter(FuncFormatter(_number))
        ax.set(title=panel.title, xlabel=panel.axis, ylabel=name)
    handles = {text: handle for ax in axes for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    axes[0].figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
    return list(axes[: len(panels)])


def is_wide(cost: pd.Series) -> bool:
    """Whether the costs spread so far that their axis is logarithmic.

    >>> is_wide(pd.Series([10.0, 20.0])), is_wide(pd.Series([1.0, 20.0]))
    (False, True)
    """
    return bool(cost.max() >= LOG_FROM * cost.min())


def _number(value: float, _: object = None) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g} {letter}"
    return f"{value:g}"


def interactive_costs(points: pd.DataFrame, name: str = "result", unit: str = "epoch") -> go.Figure:
    """The figure of ``plot_costs`` for a page, with the trial on hover.

    >>> from analysis.costs.pareto import cost_points
    >>> interactive_costs(cost_points(study)).data[-1].name
    'Pareto front'
    """
    panels = panels_of(points, unit)
    rows, columns = max(-(-len(panels) // COLUMNS), 1), max(min(len(panels), COLUMNS), 1)
    figure = make_subplots(rows, columns, subplot_titles=[panel.title for panel in panels], horizontal_spacing=0.1,
                           vertical_spacing=0.2)  # fmt: skip
    named: set[str] = set()
    for place, panel in enumerate(panels):
        cell = {"row": place // columns + 1, "col": place % columns + 1}
        for group in groups_of(panel.points):
            figure.add_trace(_trace(group, panel.axis, first=group.label not in named), **cell)
            named.add(group.label)
        scale = {"type": "log", "dtick": "D2"} if is_wide(panel.points["cost"]) else {"type": "linear"}
        form = "~s" if panel.points["cost"].min() >= 1000 else "~g"  # ~s would write 0.1 s as 100m
        figure.update_xaxes(title=escape_plotly(panel.axis), tickformat=form, title_standoff=8, **scale, **cell)
        figure.update_yaxes(title=escape_plotly(name) if place % columns == 0 else None, **cell)
    legend = {"orientation": "h", "y": 1 + 0.12 / rows, "yanchor": "bottom"}
    return figure.update_layout(height=330 * rows + 40, margin={"l": 60, "r": 20, "t": 70, "b": 50}, legend=legend)


def _trace(group: Group, axis: str, *, first: bool) -> go.Scatter:
    label, points, colour, filled = group
    trials = points[TRIAL_ID].fillna("").map(escape_plotly)
    names = points[NAME].fillna("").map(lambda text: escape_plotly(shortened(text, MAX_NAME)))
    names = names.where(points[NAME].ne(points[TRIAL_ID]), "")
    states = points[STATE].fillna("").map(escape_plotly)
    return go.Scatter(
        x=np.asarray(points["cost"], dtype=np.float32), y=np.asarray(points["result"], dtype=np.float32), name=label,
        mode="lines+markers" if label == FRONT else "markers", legendgroup=label, showlegend=first,
        line={"shape": "hv", "color": ORANGE, "width": 1.6},
        marker={"color": colour, "size": 8, "symbol": "circle" if filled else "circle-open"},
        ids=points[TRIAL_ID].map(printable), text=trials + " " + names + "<br>" + states,
        hovertemplate=f"%{{text}}<br>%{{x:.4s}} {escape_plotly(axis)}<br>%{{y:.4f}}<extra></extra>",
    )  # fmt: skip
