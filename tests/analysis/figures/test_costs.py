from dataclasses import replace

import numpy as np
import pytest

from analysis.comparable import sample_at
from analysis.costs.pareto import cost_points
from analysis.costs.progress import best_over_time
from analysis.figures.costs import groups_of, interactive_costs, panels_of, plot_costs
from analysis.figures.progress import interactive_progress, plot_progress, recipe_text
from tests.analysis.studies import study_of


@pytest.fixture
def study():
    made = study_of(
        [{"lr": 1e-3}, {"lr": 1e-2}, {"lr": 1e-1}, {"lr": 1}],
        [[0.3, 0.5, 0.6], [0.4, 0.7], [0.48], [0.1, 0.2]],
        ["completed", "completed", "stopped", "completed"],
    )
    counts = {"train": [1, 3], "val": [3, 1], "test": [1, 1]}  # a constant answer scores 0.25
    trials = made.trials.assign(seconds=[6.0, 60.0, 2.0, 4.0], name=["<b>one</b>", "two", "three", "four"])
    return replace(made, trials=trials, info={"recipe_params": {"lr": 1e-3}, "class_counts": counts})


def lines_of(ax):
    return {line.get_label(): sorted(set(np.asarray(line.get_ydata(), dtype=float))) for line in ax.get_lines()}


def test_the_recipe_and_a_constant_answer_are_lines_with_their_names(study):
    lines = lines_of(plot_progress(best_over_time(study)))
    assert lines == {
        "best so far": [0.3, 0.4, 0.5, 0.7],
        "recipe: t0000 <b>one</b>, 0.6": [0.6],
        "constant answer, 0.25": [0.25],
    }
    page = interactive_progress(best_over_time(study))
    assert [trace.name for trace in page.data if trace.name] == [
        "best so far", "recipe: t0000 &lt;b>one&lt;/b>, 0.6", "constant answer, 0.25",
    ]  # fmt: skip


def test_without_a_recipe_there_is_no_line(study):
    progress = best_over_time(replace(study, info={}))
    assert recipe_text(progress) == ""
    assert list(lines_of(plot_progress(progress))) == ["best so far"]
    assert [trace.name for trace in interactive_progress(progress).data] == ["best so far"]


def test_the_unit_of_the_time_stands_on_the_axis(study):
    slow = replace(study, trials=study.trials.assign(seconds=9000.0), history=study.history.head(0))
    assert plot_progress(best_over_time(slow)).get_xlabel() == "hours since the first trial began"


def test_stopped_trials_are_rings_and_on_the_front_only_at_an_equal_budget(study):
    whole, within = panels_of(cost_points(study, sample_at(study, 1)))
    assert (whole.title, within.title) == ("whole trainings", "all trials within 1 epoch")
    looks = {g.label: (g.points["trial_id"].tolist(), g.filled) for g in groups_of(whole.points)}
    assert looks == {
        "stopped early, not compared": (["t0002"], False),
        "no better than a constant answer": (["t0003"], True),
        "Pareto front": (["t0000", "t0001"], True),
    }
    assert groups_of(within.points)[-1].points["trial_id"].tolist() == ["t0002"]


def test_every_point_is_drawn_once_in_each_panel(study):
    points = cost_points(study, sample_at(study, 1))
    axes = plot_costs(points)
    assert [sum(len(c.get_offsets()) for c in ax.collections) for ax in axes] == [4, 4]
    page = interactive_costs(points)
    assert sum(len(trace.x) for trace in page.data) == 8
    assert len({trace.name for trace in page.data if trace.showlegend}) == sum(bool(t.showlegend) for t in page.data)
    assert "&lt;b>one" in page.data[-1].text[0] + page.data[2].text[0]


def test_costs_that_spread_widely_have_a_logarithmic_axis_with_plain_numbers(study):
    ax = plot_costs(cost_points(study))[0]
    ax.figure.canvas.draw()
    assert ax.get_xscale() == "log"
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert "10" in labels
    assert not any("$" in text for text in labels)
    assert interactive_costs(cost_points(study)).layout.xaxis.type == "log"


def test_a_large_number_of_parameters_is_short(study):
    trials = study.trials.assign(trainable_parameters=[1000, 2_000_000, 30_000, 50_000])
    ax = plot_costs(cost_points(replace(study, trials=trials)))[1]
    ax.figure.canvas.draw()
    assert {"10 k", "1 M"} <= {label.get_text() for label in ax.get_xticklabels()}
