"""Figures of importance: importance and correlation as in W&B's panel, and importance by four methods."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import BLUE, GREEN, MUTED, RED, ROW_HEIGHT, new_figure, shortened, styled
from analysis.stats.importance import METHODS

MAX_ROWS = 24  # encoded columns in the figure; the table has all of them
AXES_TITLES = {
    "impurity": "impurity (as in W&B)\nshare",
    "permutation": "permutation\nloss of R²",
    "fanova": "fANOVA\nshare",
    "ped-anova": "PED-ANOVA\nshare",
}


@styled
def plot_wandb_panel(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Draw the table of ``analysis.stats.importance.wandb_panel``: importance left, Pearson's correlation right.

    Lines on the bars of the correlation are 95 % intervals, which W&B's panel does not have.

    >>> from analysis.comparable import sample_at
    >>> from analysis.stats.importance import wandb_panel
    >>> len(plot_wandb_panel(wandb_panel(sample_at(study))))
    2
    """
    rows = table.head(MAX_ROWS).iloc[::-1]
    if axes is None:
        axes = new_figure(height=1.0 + ROW_HEIGHT * len(rows)).subplots(1, 2, sharey=True)
    left, right = axes
    names = rows["column"].map(shortened)
    left.barh(names, rows["importance"].fillna(0.0), color=BLUE, height=0.65)
    left.set(title="importance (random forest)")
    if not rows["importance"].notna().any():
        left.set(xlim=(0, 1))
        left.text(0.5, 0.5, "too few trials", transform=left.transAxes, ha="center", va="center", color=MUTED)
    colours = [GREEN if value >= 0 else RED for value in rows["pearson"]]
    right.barh(names, rows["pearson"].fillna(0.0), color=colours, height=0.65)
    _whiskers(right, np.arange(len(rows)), rows["pearson"], rows["pearson_low"], rows["pearson_high"])
    right.axvline(0, color=MUTED, linewidth=0.8)
    right.set(title="correlation (Pearson), 95 % interval", xlim=(-1, 1))
    for ax in axes:
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
    return list(axes)


def importance_matrix(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split the table of ``analysis.stats.importance.importance`` by method, all with the same order of parameters."""
    order = list(dict.fromkeys(table["parameter"]))
    columns = ["importance", "low", "high"]
    return {m: table[table["method"].eq(m)].set_index("parameter")[columns].reindex(order) for m in METHODS}


@styled
def plot_importance(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Draw the table of ``analysis.stats.importance.importance``: dots with 95 % intervals, one axes per method.

    >>> from analysis.comparable import sample_at
    >>> from analysis.stats.importance import importance
    >>> len(plot_importance(importance(sample_at(study))))
    4
    """
    by_method = importance_matrix(table)
    rows = len(by_method[METHODS[0]])
    if axes is None:
        axes = new_figure(height=1.1 + ROW_HEIGHT * max(rows, 1)).subplots(1, len(METHODS), sharey=True)
    for ax, (method, found) in zip(axes, by_method.items(), strict=True):
        places = np.arange(rows)[::-1]
        ax.axvline(0, color=MUTED, linewidth=0.8)
        _whiskers(ax, places, found["importance"], found["low"], found["high"])
        ax.scatter(found["importance"], places, color=BLUE, s=26, zorder=3)
        ax.set_yticks(places, [shortened(name) for name in found.index])
        ax.set_title(AXES_TITLES[method], fontsize=9.5)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.6, max(rows, 1) - 0.4)
    return list(axes)


def _whiskers(ax: Axes, places: np.ndarray, values: pd.Series, low: pd.Series, high: pd.Series) -> None:
    known = low.notna().to_numpy() & high.notna().to_numpy() & values.notna().to_numpy()
    ax.hlines(places[known], low[known], high[known], color=MUTED, linewidth=1.3)
