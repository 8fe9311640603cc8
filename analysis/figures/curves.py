"""Figures of all trials: best result against creation time, and accuracy and loss against epochs."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from analysis.comparable import describe_metric, is_accuracy, mask_infinite
from analysis.escaping import escape_plotly, printable
from analysis.figures.style import GREY, ORANGE, STATE_COLOURS, axes_or_new, new_figure, styled
from analysis.objective import objective_named
from analysis.schema import (
    BEST_VAL_ACC,
    CREATED,
    EPOCH,
    EPOCHS,
    HISTORY_COLUMNS,
    NAME,
    STATE,
    TRAIN_ACC,
    TRAIN_LOSS,
    TRIAL_ID,
    VAL_ACC,
    VAL_LOSS,
)  # fmt: skip
from analysis.study import StudyData

MAX_DOTS = 2000  # in a page; each dot carries the name of its trial
MAX_CURVES = 400  # more lines become a solid area, and megabytes in a page
MAX_LOSS = 1e30  # larger losses, of diverged trials, are not drawn
MAX_POINTS = 12_000  # of all curves together; a page contains each of them four times
TITLES = {TRAIN_ACC: "training accuracy", VAL_ACC: "validation accuracy", TRAIN_LOSS: "training loss",
          VAL_LOSS: "validation loss"}  # fmt: skip
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


def created_points(study: StudyData) -> pd.DataFrame:
    """One row per trial with a result, in the order of creation.

    Columns: trial_id, name, state, epochs, best_val_acc; ``seconds`` since the first trial was created, or the position
    of the trial if the times are not ``known``; ``best_so_far``: the best result of the trials up to this one;
    ``label``: the name of the metric.

    >>> float(created_points(study)["best_so_far"].iloc[-1])
    0.9896
    """
    trials = study.trials[mask_infinite(study.trials[BEST_VAL_ACC]).notna()]
    known = trials[CREATED].notna().all() and len(trials) > 0
    trials = trials.sort_values(CREATED, kind="stable") if known else trials
    seconds = (trials[CREATED] - trials[CREATED].min()).dt.total_seconds() if known else np.arange(len(trials)) * 1.0
    points = trials[[TRIAL_ID, NAME, STATE, EPOCHS, BEST_VAL_ACC]].assign(seconds=seconds, known=known)
    best = points[BEST_VAL_ACC].cummax() if study.mode == "max" else points[BEST_VAL_ACC].cummin()
    label = describe_metric(study.metric, study.mode)
    return points.assign(best_so_far=best, label=label).reset_index(drop=True)


def time_axis(points: pd.DataFrame) -> tuple[pd.Series, str]:
    """The column ``seconds`` in seconds, minutes or hours, and the label of the axis."""
    if not points["known"].all():
        return points["seconds"], "trial"
    length = float(points["seconds"].max()) if len(points) else 0.0
    unit, factor = next((pair for pair in UNITS if length >= 2 * pair[1]), UNITS[-1])
    return points["seconds"] / factor, f"trial created, {unit} after the first trial"


@styled
def plot_created(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the table of ``created_points``: one dot per trial, coloured by state, and the best so far.

    >>> figure = plot_created(created_points(study)).figure
    >>> figure.savefig(path / "created.png")
    """
    ax = axes_or_new(ax)
    time, label = time_axis(points)
    for state, colour in STATE_COLOURS.items():
        mask = points[STATE].eq(state)
        if mask.any():
            ax.scatter(time[mask], points.loc[mask, BEST_VAL_ACC], s=16, color=colour, alpha=0.75, linewidths=0,
                       label=f"{state} ({mask.sum()})", rasterized=mask.sum() > MAX_CURVES)  # fmt: skip
    ax.step(time, points["best_so_far"], where="post", color=ORANGE, linewidth=1.6, label="best so far")
    ax.set(xlabel=label, ylabel=points["label"].iloc[0])
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    """At most MAX_DOTS trials, evenly over time, and every trial that was the best so far."""
    if len(points) <= MAX_DOTS:
        return points
    even = np.isin(np.arange(len(points)), np.linspace(0, len(points) - 1, MAX_DOTS).round().astype(int))
    return points[even | points["best_so_far"].diff().ne(0)].reset_index(drop=True)


def interactive_created(points: pd.DataFrame, unit: str = "epoch") -> go.Figure:
    """The figure of ``plot_created`` for a page, with the trial's name on hover. ``unit``: what the curves count.

    The page's script relies on the first trace: its ``ids`` are the trial ids.

    >>> len(interactive_created(created_points(study)).data[0].ids)
    60
    """
    points = _thinned(points)
    time, label = time_axis(points)
    trial_id, name, state = (points[column].fillna("").map(escape_plotly) for column in (TRIAL_ID, NAME, STATE))
    hover = trial_id + " " + name + "<br>" + state + ", " + _whole(points[EPOCHS]) + f" {unit}s"
    colours = points[STATE].map(STATE_COLOURS).fillna(GREY)
    dots = go.Scatter(x=_array(time), y=_array(points[BEST_VAL_ACC]), mode="markers", name="trials", text=hover,
                      hovertemplate="%{text}<br>%{y:.4f}<extra></extra>", ids=points[TRIAL_ID].map(printable),
                      marker={"color": colours, "size": 7}, showlegend=False)  # fmt: skip
    best = go.Scatter(x=_array(time), y=_array(points["best_so_far"]), mode="lines", name="best so far",
                      line={"shape": "hv", "color": ORANGE, "width": 2}, hoverinfo="skip")  # fmt: skip
    legend = [
        go.Scatter(x=[None], y=[None], mode="markers", name=state, marker={"color": colour, "size": 8})
        for state, colour in STATE_COLOURS.items()
        if points[STATE].eq(state).any()
    ]
    figure = go.Figure([dots, best, *legend])
    figure.update_layout(height=340, margin={"l": 60, "r": 20, "t": 20, "b": 50}, xaxis_title=label)
    return figure.update_layout(
        yaxis_title=escape_plotly(points["label"].iloc[0]), legend={"orientation": "h", "y": 1.12}
    )


def _whole(column: pd.Series) -> pd.Series:
    numbers = column.astype("Float64").astype(object)
    return numbers.map(lambda value: "?" if pd.isna(value) else f"{value:.15g}").astype("str")


def epoch_curves(study: StudyData) -> pd.DataFrame:
    """The history of at most MAX_CURVES trials and MAX_POINTS epochs: trial_id, epoch, metrics, ``best``.

    ``best`` is True in the rows of the best trial, which come last. Of more trials every k-th in the order of accuracy
    is kept, so that all levels of accuracy are shown.

    >>> curves = epoch_curves(study)
    >>> curves.loc[curves["best"], "trial_id"].unique().tolist()
    ['t0008']
    """
    results = (study.sign * mask_infinite(study.trials[BEST_VAL_ACC])).dropna()
    results = results.iloc[::-1].sort_values(kind="stable")  # the first of equal trials counts as the best
    ranked = study.trials.loc[results.index, TRIAL_ID]
    if not len(ranked) or not len(study.history):
        return study.history.head(0).assign(best=pd.Series(dtype=bool))
    count = min(len(ranked), MAX_CURVES, max(MAX_POINTS // int(study.history[EPOCH].max()), 1))
    places = np.unique(np.linspace(len(ranked) - 1, 0, count).round().astype(int))
    rows = study.history[study.history[TRIAL_ID].isin(ranked.iloc[places])]
    metrics = [name for name in TITLES if name in rows]
    rows = rows.assign(**{name: rows[name].where(rows[name].abs() < MAX_LOSS) for name in metrics})
    rows = rows.assign(best=rows[TRIAL_ID].eq(ranked.iloc[-1]))
    if not is_accuracy(study.metric):
        objective = objective_named(study.metric)
        name = objective.label if objective else study.metric
        rows = rows.drop(columns=list(TITLES)).assign(**{name: rows[VAL_ACC]})
    return rows.sort_values(["best", TRIAL_ID, EPOCH], kind="stable", ignore_index=True)


def known_metrics(curves: pd.DataFrame) -> list[str]:
    """The metrics that the table ``curves`` has values of: loss and accuracy, or the study's own metric."""
    others = [name for name in curves if name not in (*HISTORY_COLUMNS, "best")]
    return [metric for metric in [*TITLES, *others] if metric in curves and curves[metric].notna().any()]


@styled
def plot_curves(curves: pd.DataFrame, axes: list[Axes] | None = None, unit: str = "epoch") -> list[Axes]:
    """Draw the table of ``epoch_curves``, one axes per metric: all trials in grey, the best trial in orange.

    ``unit``: what the curves count.

    >>> [ax.get_title(loc="left") for ax in plot_curves(epoch_curves(study))][:2]
    ['training accuracy', 'validation accuracy']
    """
    metrics = known_metrics(curves)
    if axes is None:
        rows, columns = -(-len(metrics) // 2), min(len(metrics), 2)
        axes = list(new_figure(height=2.7 * rows).subplots(rows, columns, squeeze=False).flat)[: len(metrics)]
    for metric, ax in zip(metrics, axes, strict=True):
        lines = [group[[EPOCH, metric]].to_numpy(dtype=float) for _, group in curves.groupby(TRIAL_ID)]
        ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.7, alpha=0.35, rasterized=len(lines) > 40))
        best = curves[curves["best"]]
        ax.plot(best[EPOCH], best[metric], color=ORANGE, linewidth=2, label=f"best: {best[TRIAL_ID].iloc[0]}")
        ax.autoscale_view()
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(title=TITLES.get(metric, metric), xlabel=unit, ylim=_limits(curves[metric]))
    for ax in axes[:1]:
        ax.legend(loc="lower right")
    return axes


def _limits(values: pd.Series) -> tuple[float, float]:
    """Limits of an axis that hold the middle 98 % of the values, so that one diverged trial cannot squeeze the rest."""
    low, high = np.nanquantile(values[np.isfinite(values)].to_numpy(dtype=float), [0.01, 0.99])
    margin = 0.1 * (high - low) or 0.05
    return float(low - margin), float(high + margin)


def interactive_curves(curves: pd.DataFrame, unit: str = "epoch") -> go.Figure:
    """The figure of ``plot_curves`` for a page, with the trial's id on hover.

    >>> [trace.name for trace in interactive_curves(epoch_curves(study)).data[:2]]
    ['trials', 'best']
    """
    metrics = known_metrics(curves)
    rows, columns = max(-(-len(metrics) // 2), 1), max(min(len(metrics), 2), 1)
    titles = [TITLES.get(metric, metric) for metric in metrics]
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.08, vertical_spacing=0.14)
    others = _with_gaps(curves[~curves["best"]])
    best = curves[curves["best"]]
    for place, metric in enumerate(metrics):
        cell = {"row": place // columns + 1, "col": place % columns + 1}
        for data, name, colour, width in ((others, "trials", "rgba(141,150,160,0.4)", 1), (best, "best", ORANGE, 3)):
            line = {"color": colour, "width": width}
            hover = (
                f"%{{text}}<br>{escape_plotly(unit)} %{{x}}<br>{TITLES.get(metric, metric)} %{{y:.4f}}<extra></extra>"
            )
            trace = go.Scatter(x=_array(data[EPOCH]), y=_array(data[metric]), mode="lines", line=line, name=name,
                               text=data[TRIAL_ID].map(escape_plotly, na_action="ignore"), hovertemplate=hover,
                               legendgroup=name, showlegend=place == 0, meta={"runs": _runs(data)})  # fmt: skip
            figure.add_trace(trace, **cell)
        figure.update_yaxes(range=_limits(curves[metric]), **cell)
        figure.update_xaxes(title=escape_plotly(unit) if place // columns + 1 == rows else None, **cell)
    return figure.update_layout(
        height=290 * rows, margin={"l": 50, "r": 20, "t": 50, "b": 45}, legend={"orientation": "h", "y": 1.13}
    )


def _with_gaps(curves: pd.DataFrame) -> pd.DataFrame:
    """Add an empty row after each trial, so that one trace can draw all trials as separate lines."""
    ends = curves.groupby(TRIAL_ID, sort=False).tail(1)
    gaps = pd.DataFrame({TRIAL_ID: ends[TRIAL_ID]}, index=ends.index + 0.5)
    return pd.concat([curves, gaps]).sort_index(kind="stable")


def _runs(curves: pd.DataFrame) -> list[list[Any]]:
    """Each trial and its number of points, in order, for the page's script; a gap counts to the trial before it."""
    groups = curves[TRIAL_ID].groupby(curves[TRIAL_ID].ne(curves[TRIAL_ID].shift()).cumsum())
    return [[printable(str(group.iloc[0])), len(group)] for _, group in groups]


def _array(values: pd.Series) -> np.ndarray:
    """Convert to float32, which halves the size of a page; its seven digits are enough to draw."""
    return np.asarray(values, dtype=np.float32)
