"""What early stopping did: the best so far against epochs, early ranks against late ones, busy slots."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.comparable import accuracy_within, rungs
from analysis.figures.style import BLUE, GREY, MUTED, ORANGE, axes_or_new, styled
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCHS, STATE, TRIAL_ID
from analysis.study import Study


@styled
def plot_best_so_far(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the frame of ``analysis.early_stopping.timeline.best_against_epochs``."""
    ax = axes_or_new(ax, height=3.0)
    better = table[BEST_VAL_ACC].diff().ne(0)
    better.iloc[-1:] = True
    table = table[better]  # the steps are all there is to see, of 300,000 epochs too
    ax.step(table["epochs_spent"], table[BEST_VAL_ACC], where="post", color=ORANGE, linewidth=1.8)
    ax.set_xscale("log")
    ax.set(xlabel="epochs spent by all trials together", ylabel="best so far")
    return ax


@styled
def plot_utilisation(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the frame of ``analysis.early_stopping.timeline.utilisation``: trials at once in each part of the time."""
    ax = axes_or_new(ax, height=2.4)
    width = (table["to_seconds"] - table["from_seconds"]) / 60
    ax.bar(table["from_seconds"] / 60, table["busy"], width=width * 0.94, align="edge", color=BLUE)
    if len(table):
        ax.axhline(table["slots"].iloc[0], color=MUTED, linewidth=1, linestyle="--")
    ax.set(xlabel="minutes from the first trial", ylabel="trials at once")
    ax.grid(axis="x", visible=False)
    return ax


def rung_points(study: Study) -> pd.DataFrame:
    """A row for each trial that reached the last rung or ended by itself: best at the first rung and in the end."""
    first, last = rungs(study)[0], rungs(study)[-1]
    trials = study.trials.set_index(TRIAL_ID)
    whole = trials.index[trials[EPOCHS].ge(last) | trials[STATE].eq(COMPLETED)]
    early = accuracy_within(study, first).reindex(whole)
    late = accuracy_within(study, last).reindex(whole)
    found = pd.DataFrame({"early": early, "late": late, "first": first, "last": last}).dropna()
    found = found.assign(best=(study.sign * found["late"]).rank(method="first", ascending=False).eq(1))
    return found.rename_axis(TRIAL_ID).reset_index()


@styled
def plot_rungs(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the frame of ``rung_points``: would the first rung have told the winner?"""
    ax = axes_or_new(ax, height=3.2)
    ax.scatter(points["early"], points["late"], s=18, color=GREY, alpha=0.8, linewidths=0)
    if len(points):
        best = points[points["best"]].iloc[0]
        ax.scatter([best["early"]], [best["late"]], s=42, color=ORANGE, label=f"best: {best[TRIAL_ID]}")
        ax.set(xlabel=f"best within {best['first']} epochs", ylabel=f"best within {best['last']} epochs")
        ax.legend(loc="lower right")
    return ax
