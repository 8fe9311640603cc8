"""Figures of effects: each value, claims, partial dependence, and the interaction of two hyperparameters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import (
    BLUE,
    BLUES,
    GREY,
    INK,
    MUTED,
    RED,
    ROW_HEIGHT,
    STRONG,
    axes_or_new,
    colour_map,
    new_figure,
    shortened,
    show_message,
    styled,
)
from analysis.stats.encode import order_labels

VERDICT_COLOURS = {"supported": BLUE, "contradicted": RED, "undecided": GREY}
MAX_VALUE_LENGTH = 18  # characters of a value below its column
MAX_CLAIM_LENGTH = 52  # characters of a claim beside its line


@styled
def plot_effects(
    table: pd.DataFrame,
    ax: Axes | None = None,
    name: str = "accuracy",
    sign: int = 1,
    against: str = "the other values",
) -> Axes:
    """Draw the table of ``analysis.stats.effects.value_effects``: each value's adjusted effect with its 95 % interval.

    Intervals without 0 are blue if the value is better and red if it is worse. Values without an adjusted effect are
    left out. ``name``: the name of the metric. ``sign``: -1 if lower values of the metric are better.
    ``against``: what each value is compared with.

    >>> from analysis.comparable import sample_at
    >>> from analysis.stats.effects import value_effects
    >>> len(plot_effects(value_effects(sample_at(study))).get_yticklabels())
    18
    """
    rows = table[table["adjusted"].notna()]
    if not len(rows):
        return show_message(axes_or_new(ax, height=1.0), "too few trials to hold the other hyperparameters fixed")
    labels = [
        f"{shortened(f'{p} = {v}')}  (n {n})"
        for p, v, n in zip(rows["parameter"], rows["value"], rows["trials"], strict=True)
    ]
    ax = axes_or_new(ax, height=0.8 + ROW_HEIGHT * max(len(rows), 1))
    first = ~rows["parameter"].duplicated().to_numpy()
    places = -(np.arange(len(rows)) + 0.4 * np.cumsum(first))
    _intervals(ax, places, rows["adjusted"], rows["adjusted_low"], rows["adjusted_high"], sign)
    ax.set_yticks(places, labels, fontsize=8.5)
    ax.set_ylim(places.min(initial=0) - 0.8, 0.4)
    ax.set(xlabel=f"effect on {name} compared with {against}, other hyperparameters held fixed")
    return ax


@styled
def plot_claims(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the table of ``analysis.claims.check.check_claims``: effect and 95 % interval, coloured by verdict.

    >>> from analysis.claims.check import check_claims, published_takeaways
    >>> table = check_claims(study, published_takeaways(study), lenient=True)
    >>> plot_claims(table).get_yticklabels()[0].get_text()
    'first_layer_filters in (16, 32) > 8: undecided'
    """
    rows = table[table["effect"].notna()]
    if not len(rows):
        return show_message(axes_or_new(ax, height=1.0), "no claim could be compared")
    ax = axes_or_new(ax, height=0.9 + ROW_HEIGHT * max(len(rows), 1))
    places = -np.arange(len(rows), dtype=float)
    colours = [VERDICT_COLOURS.get(verdict, GREY) for verdict in rows["verdict"]]
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.hlines(places, rows["low"], rows["high"], colors=colours, linewidth=1.8)
    ax.scatter(rows["effect"], places, color=colours, s=30, zorder=3)
    texts = [shortened(text, MAX_CLAIM_LENGTH) for text in rows["claim"]]
    ax.set_yticks(places, [f"{text}: {v}" for text, v in zip(texts, rows["verdict"], strict=True)], fontsize=8.5)
    ax.set(xlabel="effect (above 0 supports the claim)")
    ax.grid(axis="y", visible=False)
    return ax


def _intervals(ax: Axes, places: np.ndarray, values: pd.Series, low: pd.Series, high: pd.Series, sign: int) -> None:
    excludes_zero = (low.gt(0) | high.lt(0)).to_numpy()
    colours = np.where(excludes_zero, np.where((sign * values).gt(0), BLUE, RED), GREY)
    ax.axvline(0, color=MUTED, linewidth=0.8)
    ax.hlines(places, low, high, colors=list(colours), linewidth=1.6)
    ax.scatter(values, places, color=list(colours), s=26, zorder=3)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


@styled
def plot_dependence(table: pd.DataFrame, axes: Sequence[Axes] | None = None, name: str = "accuracy") -> list[Axes]:
    """Draw the table of ``analysis.stats.partial_dependence.partial_dependence``, one axes per parameter.

    >>> from analysis.comparable import sample_at
    >>> from analysis.stats.partial_dependence import partial_dependence
    >>> axes = plot_dependence(partial_dependence(sample_at(study), ["batch_norm", "activation"]))
    >>> axes[0].get_ylabel()
    'predicted accuracy'
    """
    names = list(dict.fromkeys(table["parameter"]))
    if not names:
        return [show_message(axes_or_new(axes[0] if axes else None, height=1.0), "too few trials for a forest")]
    if axes is None:
        axes = list(new_figure(height=2.9).subplots(1, len(names), sharey=True, squeeze=False).flat)
    for ax, parameter in zip(axes, names, strict=True):
        own = table[table["parameter"].eq(parameter)]
        places = np.arange(len(own))
        ax.fill_between(places, own["low"], own["high"], color=BLUE, alpha=0.18, linewidth=0)
        ax.plot(places, own["predicted"], color=BLUE, marker="o", markersize=4)
        ax.set_xticks(
            places,
            [shortened(value, MAX_VALUE_LENGTH) for value in own["value"]],
            rotation=35 if own["value"].str.len().max() > 6 else 0,
            fontsize=8.5,
        )
        ax.set_title(shortened(parameter, MAX_VALUE_LENGTH), fontsize=9.5)
    axes[0].set_ylabel(f"predicted {name}")
    return list(axes)


def interaction_matrix(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reshape the table of ``analysis.stats.interaction.pair_table`` to matrices of mean accuracy and of trials."""
    first, second = table.columns[:2]
    means = table.pivot(index=first, columns=second, values="mean")  # in the order of texts: 128, 32, 64
    means = means.reindex(index=order_labels(table[first]), columns=order_labels(table[second]))
    return means, table.pivot(index=first, columns=second, values="trials").reindex_like(means)


@styled
def plot_interaction(table: pd.DataFrame, ax: Axes | None = None, name: str = "accuracy") -> Axes:
    """Draw the table of ``analysis.stats.interaction.pair_table``: mean accuracy and trials of each pair of values.

    >>> from analysis.comparable import sample_at
    >>> from analysis.stats.interaction import pair_table
    >>> plot_interaction(pair_table(sample_at(study), "batch_norm", "learning_rate")).texts[0].get_text().split()
    ['0.219', 'n', '7']
    """
    if not len(table):
        return show_message(axes_or_new(ax, height=1.0), "too few trials to test for an interaction")
    means, counts = interaction_matrix(table)
    ax = axes_or_new(ax, height=1.2 + 0.5 * len(means))
    image = ax.imshow(means.to_numpy(dtype=float), cmap=colour_map(BLUES), aspect="auto")
    low, high = means.min(axis=None), means.max(axis=None)
    for i, j in np.ndindex(means.shape):
        mean, count = means.iat[i, j], counts.iat[i, j]
        text = f"{mean:.3f}\nn {count:.0f}" if mean == mean else "not tried"
        colour = MUTED if mean != mean else ("white" if mean > low + STRONG * (high - low) else INK)
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    ax.set_xticks(range(means.shape[1]), [shortened(value, MAX_VALUE_LENGTH) for value in means.columns])
    ax.set_yticks(range(means.shape[0]), [shortened(value, MAX_VALUE_LENGTH) for value in means.index])
    ax.set(xlabel=shortened(means.columns.name), ylabel=shortened(means.index.name, MAX_VALUE_LENGTH))
    ax.grid(visible=False)
    bar = ax.figure.colorbar(image, ax=ax, aspect=20, pad=0.02)
    bar.set_label(f"mean {name}")
    bar.outline.set_visible(False)
    return ax
