"""Figures of early stopping: best result against epochs spent, early against late results, busy slots."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.budgets import epochs_of, rungs
from analysis.comparable import accuracy_within
from analysis.figures.style import BLUE, GREY, MUTED, ORANGE, axes_or_new, log_axis, styled
from analysis.schema import BEST_VAL_ACC, COMPLETED, STATE, TRIAL_ID
from analysis.study import StudyData
from analysis.wording import counted


@styled
def plot_best_so_far(table: pd.DataFrame, ax: Axes | None = None, unit: str = "epoch") -> Axes:
    """Draw the table of ``analysis.early_stopping.timeline.best_against_epochs``. ``unit``: what the curves count.

    >>> from analysis.early_stopping.timeline import best_against_epochs
    >>> plot_best_so_far(best_against_epochs(study)).get_ylabel()
    'best result so far'
    """
    ax = axes_or_new(ax, height=3.0)
    step = table[BEST_VAL_ACC].diff().ne(0)
    step.iloc[-1:] = True
    table = table[step]  # the other points lie on the lines between the steps
    ax.step(table["epochs_spent"], table[BEST_VAL_ACC], where="post", color=ORANGE, linewidth=1.8)
    log_axis(ax)
    spent = "epochs trained by" if unit == "epoch" else "results of"
    ax.set(xlabel=f"{spent} all trials together (log scale)", ylabel="best result so far")
    return ax


@styled
def plot_utilisation(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the table of ``analysis.early_stopping.timeline.utilisation``; a dashed line marks the number of slots.

    >>> from analysis.early_stopping.timeline import utilisation
    >>> len(plot_utilisation(utilisation(study)).patches)
    10
    """
    ax = axes_or_new(ax, height=2.4)
    width = (table["to_seconds"] - table["from_seconds"]) / 60
    ax.bar(table["from_seconds"] / 60, table["busy"], width=width * 0.94, align="edge", color=BLUE)
    if len(table):
        ax.axhline(table["slots"].iloc[0], color=MUTED, linewidth=1, linestyle="--")
    ax.set(xlabel="minutes since the first trial was created", ylabel="busy slots")
    ax.grid(axis="x", visible=False)
    return ax


def rung_points(study: StudyData) -> pd.DataFrame:
    """One row per trial that was not stopped: its best result within the first rung (early) and in total (late).

    >>> len(rung_points(study))
    30
    """
    first, last = rungs(study)[0], rungs(study)[-1]
    trials = study.trials.set_index(TRIAL_ID)
    not_stopped = trials.index[epochs_of(trials).ge(last) | trials[STATE].eq(COMPLETED)]
    early = accuracy_within(study, first).reindex(not_stopped)
    late = accuracy_within(study, last).reindex(not_stopped)
    points = pd.DataFrame({"early": early, "late": late, "first": first, "last": last}).dropna()
    points = points.assign(best=(study.sign * points["late"]).rank(method="first", ascending=False).eq(1))
    return points.rename_axis(TRIAL_ID).reset_index()


@styled
def plot_rungs(points: pd.DataFrame, ax: Axes | None = None, unit: str = "epoch") -> Axes:
    """Draw the table of ``rung_points``: would the first rung have predicted the best trial?

    >>> plot_rungs(rung_points(study)).get_xlabel()
    'best within 3 epochs'
    """
    ax = axes_or_new(ax, height=3.2)
    ax.scatter(points["early"], points["late"], s=18, color=GREY, alpha=0.8, linewidths=0)
    if len(points):
        best = points[points["best"]].iloc[0]
        ax.scatter([best["early"]], [best["late"]], s=42, color=ORANGE, label=f"best: {best[TRIAL_ID]}")
        first, last = (counted(best[name], unit) for name in ("first", "last"))
        ax.set(xlabel=f"best within {first}", ylabel=f"best within {last}")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return ax
