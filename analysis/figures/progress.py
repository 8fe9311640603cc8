"""The figure of the best result so far against the time of the search."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes

from analysis.costs.progress import Progress
from analysis.escaping import escape_plotly, printable
from analysis.figures.curves import UNITS
from analysis.figures.style import BLUE, GREY, MUTED, ORANGE, axes_or_new, shortened, styled
from analysis.schema import BEST_VAL_ACC, NAME, TRIAL_ID

MAX_NAME = 48  # characters of the recipe's label
UNIT_NAMES = {"h": "hours", "min": "minutes", "s": "seconds"}


def recipe_text(progress: Progress) -> str:
    """The label of the recipe's line: its trial, its name if it has one, and its result; "" without a recipe.

    >>> from analysis.costs.progress import best_over_time
    >>> recipe_text(best_over_time(study))
    ''
    """
    recipe = progress.recipe
    if recipe is None or pd.isna(recipe[BEST_VAL_ACC]):
        return ""
    name = "" if recipe[NAME] == recipe[TRIAL_ID] else f" {recipe[NAME]}"
    return f"recipe: {shortened(f'{recipe[TRIAL_ID]}{name}', MAX_NAME)}, {recipe[BEST_VAL_ACC]:.4g}"


def drawn_steps(progress: Progress) -> pd.DataFrame:
    """The steps at which the best result changes, and the last one; the others lie on the line between them.

    >>> from analysis.costs.progress import best_over_time
    >>> len(drawn_steps(best_over_time(study)))
    9
    """
    changed = progress.steps[BEST_VAL_ACC].diff().ne(0)
    changed.iloc[-1:] = True
    return progress.steps[changed].reset_index(drop=True)


def unit_of_time(progress: Progress) -> tuple[str, float]:
    """The unit in which the time is drawn, and its seconds.

    >>> from analysis.costs.progress import best_over_time
    >>> unit_of_time(best_over_time(study))
    ('s', 1.0)
    """
    length = float(progress.steps["seconds"].max())
    return next((pair for pair in UNITS if length >= 2 * pair[1]), UNITS[-1])


def time_label(progress: Progress) -> str:
    """The label of the axis of time."""
    unit = UNIT_NAMES[unit_of_time(progress)[0]]
    return f"{unit} since the first trial began" if progress.wall else f"training time of all trials together, {unit}"


@styled
def plot_progress(progress: Progress, ax: Axes | None = None, label: str = "best result so far") -> Axes:
    """Draw ``analysis.costs.progress.best_over_time``: the best so far, the recipe's trial and a constant answer.

    >>> from analysis.costs.progress import best_over_time
    >>> plot_progress(best_over_time(study)).get_xlabel()
    'seconds since the first trial began'
    """
    ax = axes_or_new(ax)
    steps, factor = drawn_steps(progress), unit_of_time(progress)[1]
    ax.step(
        steps["seconds"] / factor, steps[BEST_VAL_ACC], where="post", color=ORANGE, linewidth=2, label="best so far"
    )
    if text := recipe_text(progress):
        assert progress.recipe is not None
        ax.axhline(progress.recipe[BEST_VAL_ACC], color=BLUE, linewidth=1.4, linestyle="--", label=text)
        if np.isfinite(progress.recipe_end):
            ax.scatter([progress.recipe_end / factor], [progress.recipe[BEST_VAL_ACC]], color=BLUE, s=34, zorder=3)
    if np.isfinite(progress.constant):
        answer = f"constant answer, {progress.constant:.4g}"
        ax.axhline(progress.constant, color=MUTED, linewidth=1.2, linestyle=":", label=answer)
    ax.set(xlabel=time_label(progress), ylabel=label)
    ax.set_xlim(0, 1.01 * float(steps["seconds"].iloc[-1]) / factor)
    ax.legend(loc="lower right")
    return ax


def interactive_progress(progress: Progress, label: str = "best result so far") -> go.Figure:
    """The figure of ``plot_progress`` for a page, with the trial of each step on hover.

    >>> from analysis.costs.progress import best_over_time
    >>> [trace.name for trace in interactive_progress(best_over_time(study)).data]
    ['best so far']
    """
    steps, factor = drawn_steps(progress), unit_of_time(progress)[1]
    unit, end = unit_of_time(progress)[0], float(progress.steps["seconds"].max()) / factor
    best = go.Scatter(
        x=np.asarray(steps["seconds"] / factor, dtype=np.float32), y=np.asarray(steps[BEST_VAL_ACC], dtype=np.float32),
        mode="lines+markers", name="best so far", line={"shape": "hv", "color": ORANGE, "width": 2},
        marker={"size": 5}, text=steps[TRIAL_ID].map(printable).map(escape_plotly),
        hovertemplate=f"%{{text}}<br>%{{x:.3g}} {unit}<br>%{{y:.4f}}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure([best])
    if text := recipe_text(progress):
        assert progress.recipe is not None
        _line(figure, float(progress.recipe[BEST_VAL_ACC]), escape_plotly(text), BLUE, "dash", end)
        if np.isfinite(progress.recipe_end):
            figure.add_scatter(
                x=[progress.recipe_end / factor], y=[float(progress.recipe[BEST_VAL_ACC])], mode="markers",
                marker={"color": BLUE, "size": 9}, showlegend=False,
                hovertemplate="end of the recipe's trial<br>%{y:.4f}<extra></extra>",
            )  # fmt: skip
    if np.isfinite(progress.constant):
        _line(figure, progress.constant, f"constant answer, {progress.constant:.4g}", GREY, "dot", end)
    legend = {"orientation": "h", "y": 1.03, "yanchor": "bottom"}  # grows upwards where a narrow page needs more rows
    figure.update_layout(height=360, margin={"l": 60, "r": 20, "t": 20, "b": 50}, legend=legend)
    figure.update_xaxes(title=time_label(progress), rangemode="tozero")
    return figure.update_yaxes(title=escape_plotly(label))


def _line(figure: go.Figure, height: float, name: str, colour: str, dash: str, end: float) -> None:
    """A horizontal line as a trace, so that the legend names it and a click hides it."""
    line = {"color": colour, "dash": dash, "width": 1.6}
    figure.add_scatter(x=[0.0, end], y=[height, height], mode="lines", name=name, line=line, hoverinfo="name")
