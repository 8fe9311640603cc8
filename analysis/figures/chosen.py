"""The figure of the curves of chosen trials, for a page."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.escaping import escape_plotly, printable
from analysis.figures.side_by_side import COLOURS
from analysis.schema import EPOCH, TRIAL_ID

DASHES = ("solid", "dash", "dot")  # of the trials beyond the number of colours
MAX_TICKS = 20  # epochs up to which each has a tick
MAX_CHOSEN = len(COLOURS) * len(DASHES)


class TrialLook(NamedTuple):
    """How the curve of one trial is drawn."""

    colour: str
    dash: str


def looks_of_trials(trial_ids: Iterable[str]) -> dict[str, TrialLook]:
    """A colour and a dash for the first MAX_CHOSEN trials, in the order of their ids.

    >>> looks_of_trials(["t0002", "t0001"])["t0001"]
    TrialLook(colour='#2b7fb8', dash='solid')
    """
    return {
        trial_id: TrialLook(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS)])
        for i, trial_id in enumerate(sorted(trial_ids)[:MAX_CHOSEN])
    }


def interactive_chosen(curves: pd.DataFrame, label: str, unit: str = EPOCH) -> go.Figure:
    """Draw the table of ``analysis.side_by_side.trials.trial_curves``, one trace per trial, named by its id.

    ``label``: the name of the metric; ``unit``: what the curves count.

    >>> from analysis.side_by_side.trials import trial_curves
    >>> curves = trial_curves(study, ["t0008", "t0016"], "val_acc")
    >>> [trace.name for trace in interactive_chosen(curves, "validation accuracy").data]
    ['t0008', 't0016']
    """
    figure = go.Figure()
    groups = {str(trial_id): rows for trial_id, rows in curves.groupby(TRIAL_ID)}
    for trial_id, look in looks_of_trials(groups).items():
        rows = groups[trial_id]
        figure.add_scatter(
            x=np.asarray(rows[EPOCH], dtype=np.float32), y=np.asarray(rows["value"], dtype=np.float32),
            mode="lines+markers", name=escape_plotly(trial_id), uid=printable(trial_id), marker={"size": 5},
            line={"color": look.colour, "dash": look.dash, "width": 2},
            hovertemplate=f"{escape_plotly(trial_id)}<br>{escape_plotly(unit)} %{{x}}<br>%{{y:.4f}}<extra></extra>",
        )  # fmt: skip
    legend = {"orientation": "h", "y": 1.03, "yanchor": "bottom"}
    figure.update_layout(height=430, margin={"l": 60, "r": 20, "t": 20, "b": 50}, legend=legend, showlegend=True)
    few = curves[EPOCH].max() <= MAX_TICKS
    figure.update_xaxes(title=escape_plotly(unit), dtick=1 if few else None)
    return figure.update_yaxes(title=escape_plotly(label))
