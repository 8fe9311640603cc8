"""Accuracy against creation time, and accuracy and loss against epochs, of all trials."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from analysis.comparable import finite, metric_name, outcome_name
from analysis.figures.style import GREY, ORANGE, STATE_COLOURS, axes_or_new, new_figure, styled
from analysis.schema import (
    BEST_VAL_ACC,
    CREATED,
    EPOCH,
    EPOCHS,
    NAME,
    SECONDS,
    STATE,
    TRAIN_ACC,
    TRAIN_LOSS,
    TRIAL_ID,
    VAL_ACC,
    VAL_LOSS,
)  # fmt: skip
from analysis.study import Study

MOST_DOTS = 2000  # of a page, each with the name of its trial
MOST_CURVES = 400  # lines of a picture; more become a solid area, and a page of them megabytes
LARGEST = 1e30  # a diverged loss beyond that is drawn as none
MOST_POINTS = 12_000  # of all curves together, each four times in a page
TITLES = {TRAIN_ACC: "training accuracy", VAL_ACC: "validation accuracy", TRAIN_LOSS: "training loss",
          VAL_LOSS: "validation loss"}  # fmt: skip
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


def created_points(study: Study) -> pd.DataFrame:
    """A row for each trial with an accuracy, in the order of creation.

    trial_id, name, state, epochs, best_val_acc, ``seconds`` from the first trial's creation (the trial's number where
    times are not known), ``best_so_far`` of the trials up to it, and ``label``, what the metric is called.
    """
    trials = study.trials[finite(study.trials[BEST_VAL_ACC]).notna()]
    known = trials[CREATED].notna().all() and len(trials) > 0
    trials = trials.sort_values(CREATED, kind="stable") if known else trials
    seconds = (trials[CREATED] - trials[CREATED].min()).dt.total_seconds() if known else np.arange(len(trials)) * 1.0
    found = trials[[TRIAL_ID, NAME, STATE, EPOCHS, BEST_VAL_ACC]].assign(seconds=seconds, known=known)
    best = found[BEST_VAL_ACC].cummax() if study.mode == "max" else found[BEST_VAL_ACC].cummin()
    label = metric_name(study.metric, study.mode)
    return found.assign(best_so_far=best, label=label).reset_index(drop=True)


def time_axis(points: pd.DataFrame) -> tuple[pd.Series, str]:
    """The column ``seconds`` in a unit that suits its length, and the name of the axis."""
    if not points["known"].all():
        return points["seconds"], "trial"
    length = float(points["seconds"].max()) if len(points) else 0.0
    unit, factor = next((pair for pair in UNITS if length >= 2 * pair[1]), UNITS[-1])
    return points["seconds"] / factor, f"trial created, {unit} after the first"


@styled
def plot_created(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the frame of ``created_points``: a dot a trial by state, and the best so far."""
    ax = axes_or_new(ax)
    when, label = time_axis(points)
    for state, colour in STATE_COLOURS.items():
        own = points[STATE].eq(state)
        if own.any():
            ax.scatter(when[own], points.loc[own, BEST_VAL_ACC], s=16, color=colour, alpha=0.75, linewidths=0,
                       label=f"{state} ({own.sum()})", rasterized=own.sum() > MOST_CURVES)  # fmt: skip
    ax.step(when, points["best_so_far"], where="post", color=ORANGE, linewidth=1.6, label="best so far")
    ax.set(xlabel=label, ylabel=points["label"].iloc[0])
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_DOTS, evenly over time, and all that were the best so far."""
    if len(points) <= MOST_DOTS:
        return points
    even = np.isin(np.arange(len(points)), np.linspace(0, len(points) - 1, MOST_DOTS).round().astype(int))
    return points[even | points["best_so_far"].diff().ne(0)].reset_index(drop=True)


def interactive_created(points: pd.DataFrame) -> go.Figure:
    """The same for a page, with the trial's name at the pointer; the first trace has all trials in order."""
    points = _thinned(points)
    when, label = time_axis(points)
    hover = (points[TRIAL_ID] + " " + points[NAME].fillna("") + "<br>" + points[STATE] + ", "
             + points[EPOCHS].astype("Int64").astype(str) + " epochs")  # fmt: skip
    colours = points[STATE].map(STATE_COLOURS).fillna(GREY)
    dots = go.Scatter(x=_array(when), y=_array(points[BEST_VAL_ACC]), mode="markers", name="trials", text=hover,
                      hovertemplate="%{text}<br>%{y:.4f}<extra></extra>", ids=points[TRIAL_ID],
                      marker={"color": colours, "size": 7}, showlegend=False)  # fmt: skip
    best = go.Scatter(x=_array(when), y=_array(points["best_so_far"]), mode="lines", name="best so far",
                      line={"shape": "hv", "color": ORANGE, "width": 2}, hoverinfo="skip")  # fmt: skip
    legend = [
        go.Scatter(x=[None], y=[None], mode="markers", name=state, marker={"color": colour, "size": 8})
        for state, colour in STATE_COLOURS.items()
        if points[STATE].eq(state).any()
    ]
    figure = go.Figure([dots, best, *legend])
    figure.update_layout(height=340, margin={"l": 60, "r": 20, "t": 20, "b": 50}, xaxis_title=label)
    return figure.update_layout(yaxis_title=points["label"].iloc[0], legend={"orientation": "h", "y": 1.12})


def epoch_curves(study: Study) -> pd.DataFrame:
    """The history of at most MOST_CURVES trials and MOST_POINTS epochs: trial_id, epoch, metrics, ``best``.

    The rows of the best trial, in which ``best`` is True, come last. Where there are more trials, every k-th by
    accuracy is taken, so that all levels of accuracy are there.
    """
    results = (study.sign * finite(study.trials[BEST_VAL_ACC])).dropna()
    results = results.iloc[::-1].sort_values(kind="stable")  # of equal ones the first counts as the best
    ranked = study.trials.loc[results.index, TRIAL_ID]
    if not len(ranked) or not len(study.history):
        return study.history.head(0).assign(best=pd.Series(dtype=bool))
    count = min(len(ranked), MOST_CURVES, max(MOST_POINTS // int(study.history[EPOCH].max()), 1))
    places = np.unique(np.linspace(len(ranked) - 1, 0, count).round().astype(int))
    chosen = ranked.iloc[places]
    rows = study.history[study.history[TRIAL_ID].isin(chosen)]
    metrics = [name for name in TITLES if name in rows]
    rows = rows.assign(**{name: rows[name].where(rows[name].abs() < LARGEST) for name in metrics})
    rows = rows.assign(best=rows[TRIAL_ID].eq(ranked.iloc[-1]))
    if outcome_name(study.metric) == study.metric:
        rows = rows.drop(columns=list(TITLES)).assign(**{study.metric: rows[VAL_ACC]})
    return rows.sort_values(["best", TRIAL_ID, EPOCH], kind="stable", ignore_index=True)


def known_metrics(curves: pd.DataFrame) -> list[str]:
    """Those of the four metrics that the study recorded, or its own one."""
    others = [name for name in curves if name not in (TRIAL_ID, EPOCH, SECONDS, "best", *TITLES)]
    return [metric for metric in [*TITLES, *others] if metric in curves and curves[metric].notna().any()]


@styled
def plot_curves(curves: pd.DataFrame, axes: list[Axes] | None = None) -> list[Axes]:
    """Draw the frame of ``epoch_curves``, each metric on axes of its own: all trials grey, the best one orange."""
    metrics = known_metrics(curves)
    if axes is None:
        rows, columns = -(-len(metrics) // 2), min(len(metrics), 2)
        axes = list(new_figure(height=2.7 * rows).subplots(rows, columns, squeeze=False).flat)[: len(metrics)]
    for metric, ax in zip(metrics, axes, strict=True):
        lines = [group[[EPOCH, metric]].to_numpy(dtype=float) for _, group in curves.groupby(TRIAL_ID)]
        ax.add_collection(LineCollection(lines, colors=GREY, linewidths=0.7, alpha=0.35, rasterized=len(lines) > 100))
        best = curves[curves["best"]]
        ax.plot(best[EPOCH], best[metric], color=ORANGE, linewidth=2, label=f"best: {best[TRIAL_ID].iloc[0]}")
        ax.autoscale_view()
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(title=TITLES.get(metric, metric), xlabel="epoch", ylim=_limits(curves[metric]))
    for ax in axes[:1]:
        ax.legend(loc="lower right")
    return axes


def _limits(values: pd.Series) -> tuple[float, float]:
    """Ends of an axis that one diverged trial cannot squeeze: the middle 98 % of the values and as much as a tenth."""
    low, high = np.nanquantile(values[np.isfinite(values)].to_numpy(dtype=float), [0.01, 0.99])
    margin = 0.1 * (high - low) or 0.05
    return float(low - margin), float(high + margin)


def interactive_curves(curves: pd.DataFrame) -> go.Figure:
    """The same for a page, with the trial at the pointer."""
    metrics = known_metrics(curves)
    rows, columns = max(-(-len(metrics) // 2), 1), max(min(len(metrics), 2), 1)
    titles = [TITLES.get(metric, metric) for metric in metrics]
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.08, vertical_spacing=0.14)
    apart = _with_gaps(curves[~curves["best"]])
    best = curves[curves["best"]]
    for place, metric in enumerate(metrics):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for rows_of, name, colour, width in ((apart, "trials", "rgba(141,150,160,0.4)", 1), (best, "best", ORANGE, 3)):
            line = {"color": colour, "width": width}
            shown = f"%{{text}}<br>epoch %{{x}}<br>{TITLES.get(metric, metric)} %{{y:.4f}}<extra></extra>"
            trace = go.Scatter(x=_array(rows_of[EPOCH]), y=_array(rows_of[metric]), mode="lines", line=line, name=name,
                               text=rows_of[TRIAL_ID], hovertemplate=shown, legendgroup=name,
                               showlegend=place == 0)  # fmt: skip
            figure.add_trace(trace, **where)
        figure.update_yaxes(range=_limits(curves[metric]), **where)
        figure.update_xaxes(title="epoch" if place // columns + 1 == rows else None, **where)
    return figure.update_layout(
        height=290 * rows, margin={"l": 50, "r": 20, "t": 50, "b": 45}, legend={"orientation": "h", "y": 1.13}
    )


def _with_gaps(curves: pd.DataFrame) -> pd.DataFrame:
    """A row of nothing after each trial, so that one trace can draw them all."""
    ends = curves.groupby(TRIAL_ID, sort=False).tail(1)
    gaps = pd.DataFrame({TRIAL_ID: ends[TRIAL_ID]}, index=ends.index + 0.5)
    return pd.concat([curves, gaps]).sort_index(kind="stable")


def _array(values: pd.Series) -> np.ndarray:
    """Half of the bytes of a page: four digits are drawn, float32 has seven."""
    return np.asarray(values, dtype=np.float32)
