"""Figures of a comparison show what their tables hold."""

import numpy as np
import pandas as pd

from analysis.compare import comparison
from analysis.figures.side_by_side import (
    looks_of,
    plot_accuracy_seconds,
    plot_class_gains,
    plot_comparison,
    plot_convergence,
    plot_learning_rates,
)
from analysis.side_by_side.convergence import convergence_curves
from analysis.side_by_side.equal_budgets import equal_budgets
from analysis.side_by_side.learning_rates import learning_rate_curve
from tests.analysis.studies import study_of


def studies(names=("freeze_all", "lora")):
    params = [{"strategy": name, "learning_rate": rate} for name in names for rate in (1e-4, 1e-2)]
    return {"s": study_of(params, [[0.1 + 0.01 * i, 0.2 + 0.01 * i] for i in range(len(params))])}


def test_a_group_has_one_colour_in_every_figure():
    table, equal = comparison(studies()), equal_budgets(studies())
    first, second, third = plot_comparison(table, equal, convergence_curves(studies()), learning_rate_curve(studies()))
    wanted = {look.label: look.colour for look in looks_of(table).values()}
    assert list(wanted) == ["freeze_all", "lora"]
    for ax in (second, third):
        assert {line.get_label(): line.get_color() for line in ax.lines} == wanted
    assert [text.get_text() for text in first.get_legend().get_texts()] == list(wanted)


def test_ticks_of_log_axes_are_plain_numbers():
    ax = plot_learning_rates(learning_rate_curve(studies()))
    ax.figure.canvas.draw()
    assert "0.001" in [label.get_text() for label in ax.get_xticklabels()]
    assert not any("$" in label.get_text() for label in ax.get_xticklabels())


def test_names_are_drawn_as_they_are():
    ax = plot_convergence(convergence_curves(studies(("a $x_1$ b", "_hidden"))))
    assert [text.get_text().strip() for text in ax.get_legend().get_texts()] == ["_hidden", "a $x_1$ b"]


def test_without_anything_to_draw_the_reason_is_written():
    table = comparison(studies()).assign(seconds=np.nan)
    assert plot_accuracy_seconds(table, equal_budgets(studies())).texts[0].get_text() == "no trial has a time"
    assert plot_learning_rates(pd.DataFrame()).texts[0].get_text() == "no group has more than one learning rate"
    assert plot_class_gains(pd.DataFrame()).texts[0].get_text() == "fewer than two studies have a final model"


def test_more_groups_than_colours_are_drawn_with_other_lines():
    many = studies([f"strategy {i:02d}" for i in range(12)])
    looks = looks_of(comparison(many))
    assert len({(look.colour, look.style) for look in looks.values()}) == 12
