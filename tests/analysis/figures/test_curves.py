import numpy as np
import pandas as pd
import pytest

from analysis.figures import curves
from tests.analysis.studies import study_of


@pytest.fixture
def study():
    return study_of(
        [{"a": i} for i in range(4)], [[0.1, 0.3], [0.2], [0.6, 0.8, 0.7], [np.nan]],
        ["stopped", "stopped", "completed", "failed"],
    )  # fmt: skip


def test_points_are_in_order_of_creation_with_the_best_so_far(study):
    shuffled = study.trials.iloc[::-1]
    points = curves.created_points(type(study)(shuffled, study.history, {}, study.parameters))
    assert list(points["trial_id"]) == ["t0000", "t0001", "t0002"]
    assert list(points["seconds"]) == [0, 1, 2]
    assert list(points["best_so_far"]) == [0.3, 0.3, 0.8]


def test_without_times_trials_are_placed_by_their_number(study):
    trials = study.trials.assign(created=pd.NaT)
    points = curves.created_points(type(study)(trials, study.history, {}, study.parameters))
    assert curves.time_axis(points)[1] == "trial"
    assert list(points["seconds"]) == [0, 1, 2]


@pytest.mark.parametrize(("seconds", "unit"), [(90, "s"), (600, "min"), (9000, "h")])
def test_the_unit_of_time_fits_its_length(seconds, unit):
    points = pd.DataFrame({"seconds": [0.0, seconds], "known": True})
    values, label = curves.time_axis(points)
    assert f" {unit} " in label
    assert values.max() == pytest.approx(seconds / {"s": 1, "min": 60, "h": 3600}[unit])


def test_the_legend_counts_the_trials_of_each_state(study):
    ax = curves.plot_created(curves.created_points(study))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["completed (1)", "stopped (2)", "best so far"]


def test_the_best_trial_comes_last_in_the_curves(study):
    rows = curves.epoch_curves(study)
    assert rows["best"].sum() == 3
    assert list(rows["trial_id"].tail(3)) == ["t0002"] * 3
    assert set(rows["trial_id"]) == {"t0000", "t0001", "t0002"}


def test_a_large_study_shows_curves_of_every_rank():
    count = 3 * curves.MAX_CURVES
    study = study_of([{"a": i} for i in range(count)], [[i / count] for i in range(count)])
    rows = curves.epoch_curves(study)
    assert rows["trial_id"].nunique() == curves.MAX_CURVES
    assert rows["val_acc"].min() == 0
    assert rows["best"].sum() == 1
    middle = rows["val_acc"].median()
    assert middle == pytest.approx(0.5, abs=0.01)


def test_metrics_without_values_have_no_axes(study):
    history = study.history.assign(train_loss=np.nan, train_acc=np.nan)
    rows = curves.epoch_curves(type(study)(study.trials, history, {}, study.parameters))
    assert curves.known_metrics(rows) == ["val_acc", "val_loss"]
    assert [ax.get_title(loc="left") for ax in curves.plot_curves(rows)] == ["validation accuracy", "validation loss"]


def test_one_diverged_trial_does_not_squeeze_the_others():
    study = study_of([{"a": i} for i in range(200)], [[0.5, 0.6]] * 200)
    history = study.history.assign(
        val_loss=np.where(study.history["trial_id"].eq("t0000"), 1e9, study.history["val_loss"])
    )
    rows = curves.epoch_curves(type(study)(study.trials, history, {}, study.parameters))
    loss = curves.plot_curves(rows)[-1]
    assert loss.get_title(loc="left") == "validation loss"
    assert loss.get_ylim()[1] < 1


def test_the_interactive_trace_has_gaps_between_trials(study):
    figure = curves.interactive_curves(curves.epoch_curves(study))
    others = figure.data[0]
    assert [None if np.isnan(x) else int(x) for x in others.x] == [1, 2, None, 1, None]
    assert figure.data[1].name == "best"
    assert len(figure.data[1].x) == 3


def test_the_first_interactive_trace_has_the_trial_ids(study):
    figure = curves.interactive_created(curves.created_points(study))
    assert list(figure.data[0].ids) == ["t0000", "t0001", "t0002"]
    assert np.asarray(figure.data[0].y) == pytest.approx([0.3, 0.2, 0.8])


def test_nothing_to_draw_is_an_empty_table():
    study = study_of([{"a": 1}], [[np.nan]])
    assert len(curves.created_points(study)) == 0
    assert len(curves.epoch_curves(study)) == 0


def test_the_dots_of_a_large_study_are_thinned_evenly_and_keep_every_best_so_far(monkeypatch):
    monkeypatch.setattr(curves, "MAX_DOTS", 10)
    accuracies = [[0.9 if i == 34 else 0.1] for i in range(100)]
    points = curves.created_points(study_of([{"a": i} for i in range(100)], accuracies))
    shown = curves.interactive_created(points).data[0].ids
    assert [int(i[1:]) for i in shown] == [0, 11, 22, 33, 34, 44, 55, 66, 77, 88, 99]
