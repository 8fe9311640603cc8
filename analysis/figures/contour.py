"""Two hyperparameters together: a contour where both are numbers of many values, and else a heat map of means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.comparable import ACCURACY, Sample, axis_name
from analysis.escaping import escape_plotly, printable
from analysis.figures.effects import interaction_matrix
from analysis.figures.parallel import LEVELS, place_on_axis
from analysis.figures.slices import MAX_DOTS, MAX_LABEL, sample_title
from analysis.figures.style import ORANGE, shortened
from analysis.schema import TRIAL_ID
from analysis.stats.slices import cell_means, smooth_surface

MAX_PAIRS = 66  # of 12 hyperparameters
BLUES = [[0.0, "rgba(43,127,184,0.08)"], [1.0, "rgba(43,127,184,0.60)"]]


def interactive_contour(samples: Sequence[Sample], start: int, pairs: Sequence[tuple[str, str]]) -> go.Figure:
    """Results over one of the ``pairs`` of hyperparameters at the budget of one of the samples, as the user chooses.

    The first pair and the budget ``start`` are shown first. Each trace says in its ``meta`` which choice it belongs to
    and what its axes look like; the page's script shows it then.

    >>> from analysis.comparable import sample_at
    >>> figure = interactive_contour([sample_at(study)], 0, [("batch_norm", "learning_rate")])
    >>> figure.data[0].type, figure.layout.meta["choices"][0]["options"]
    ('heatmap', ['batch norm and learning rate'])
    """
    traces: list[Any] = []
    for number, sample in enumerate(samples):
        for place, (first, second) in enumerate(pairs):
            choice = {"pair": place, "budget": number}
            shown = {"visible": number == start and not place}
            traces += [trace.update(shown) for trace in _traces(sample, first, second, choice)]
    options = [f"{_title(first)} and {_title(second)}" for first, second in pairs]
    budgets = [sample_title(sample) for sample in samples]
    choices = [
        {"name": "pair", "label": "Hyperparameters", "options": options, "start": 0},
        {"name": "budget", "label": "Budget", "options": budgets, "start": start},
    ]
    title = {"x": 0.01, "xanchor": "left", "font": {"size": 14}}
    figure = go.Figure(traces, {"meta": {"choices": choices}, "height": 420, "title": title})
    return figure.update_layout(margin={"l": 90, "r": 20, "t": 50, "b": 60})


def pair_means(samples: Sequence[Sample], pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The cells of all pairs and budgets as one table, for a user who wants to draw them elsewhere.

    >>> from analysis.comparable import sample_at
    >>> table = pair_means([sample_at(study)], [("batch_norm", "learning_rate")])
    >>> table[["first", "first_value", "second", "trials", "epochs"]].values[0].tolist()
    ['batch_norm', 'False', 'learning_rate', 7, 3]
    """
    tables = []
    for sample in samples:
        for first, second in pairs:
            cells = cell_means(sample, first, second).set_axis(
                ["first_value", "second_value", "trials", "mean"], axis=1
            )
            cells = cells.assign(first=first, second=second, epochs=sample.epochs)
            tables.append(cells[["first", "first_value", "second", "second_value", "trials", "mean", "epochs"]])
    return pd.concat(tables, ignore_index=True)


def _title(name: str) -> str:
    return shortened(printable(name).replace("_", " "))


def _traces(sample: Sample, first: str, second: str, choice: dict[str, int]) -> list[Any]:
    axes = [place_on_axis(sample.trials[name], always_number=False) for name in (second, first)]
    title = f"{axis_name(sample.metric)} {sample_title(sample)}"
    if any(kind == LEVELS for kind, _, _ in axes):
        return [_heat_map(sample, first, second, choice, f"mean {title}")]
    return _contour(sample, first, second, axes, choice, title)


def _layout(title: str, first: str, second: str, ticks: Sequence[Sequence[tuple[float, str]]]) -> dict[str, Any]:
    """What a trace says about the axes: ``second`` is across and ``first`` upwards, as in the static heat map."""
    layout: dict[str, Any] = {"title": {"text": escape_plotly(title)}}
    for axis, name, own in zip(("xaxis", "yaxis"), (second, first), ticks, strict=True):
        labels = [escape_plotly(shortened(label, MAX_LABEL)) for _, label in own]
        values = [float(place) for place, _ in own]
        layout[axis] = {"title": {"text": escape_plotly(_title(name))}, "tickvals": values, "ticktext": labels}
        layout[axis] |= {"showgrid": False, "zeroline": False, "type": "linear", "autorange": True}
    return layout


def _heat_map(sample: Sample, first: str, second: str, choice: dict[str, int], title: str) -> go.Heatmap:
    means, counts = interaction_matrix(cell_means(sample, first, second))
    ticks = [list(enumerate(map(str, labels))) for labels in (means.columns, means.index)]
    layout = _layout(title, first, second, ticks)
    layout["yaxis"] |= {"autorange": "reversed"}
    texts = [
        [f"{mean:.3f}<br>n {count:.0f}" if mean == mean else "not tried" for mean, count in zip(*rows, strict=True)]
        for rows in zip(means.to_numpy(float), counts.to_numpy(float), strict=True)
    ]
    return go.Heatmap(
        z=means.to_numpy(dtype=np.float32), text=texts, texttemplate="%{text}", colorscale=BLUES, xgap=2, ygap=2,
        meta={"choice": choice, "layout": layout}, colorbar={"thickness": 10, "outlinewidth": 0}, hoverinfo="text",
        hoverongaps=False,
    )  # fmt: skip


def _contour(
    sample: Sample, first: str, second: str, axes: Sequence[Any], choice: dict[str, int], title: str
) -> list[Any]:
    """The smoothed results, and the trials as dots; where no trial is near, there is no surface."""
    places = np.linspace(0, len(sample) - 1, min(len(sample), MAX_DOTS)).round().astype(int)
    trials = sample.trials.iloc[places]
    x, y = (positions.to_numpy(dtype=float)[places] for _, positions, _ in axes)
    values = trials[ACCURACY].to_numpy(dtype=float)
    columns, rows, means = smooth_surface(x, y, values)
    layout = _layout(title, first, second, [ticks for _, _, ticks in axes])
    surface = go.Contour(
        x=columns.astype(np.float32), y=rows.astype(np.float32), z=means.astype(np.float32), colorscale=BLUES,
        line={"width": 0.6}, meta={"choice": choice, "layout": layout},
        showscale=False, contours={"showlabels": True}, hovertemplate="about %{z:.4f}<extra></extra>",
    )  # fmt: skip
    dots = go.Scatter(
        x=x.astype(np.float32), y=y.astype(np.float32), mode="markers", showlegend=False, meta={"choice": choice},
        ids=[printable(str(trial)) for trial in trials[TRIAL_ID]],
        text=[f"{escape_plotly(str(i))}<br>{value:.4f}" for i, value in zip(trials[TRIAL_ID], values, strict=True)],
        hovertemplate="%{text}<extra></extra>",
        marker={"size": 4, "color": ORANGE, "opacity": 0.8},
    )  # fmt: skip
    return [surface, dots]
