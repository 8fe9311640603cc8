import numpy as np
import pytest

from analysis.early_stopping.replay import history_in_time_order, other_settings, replay
from analysis.early_stopping.timeline import best_by_part, busy_between, utilisation
from analysis.study import StudyData
from tests.analysis.studies import study_of

CURVES = [[0.5, 0.6, 0.7, 0.8], [0.4], [0.6, 0.7, 0.7, 0.9], [0.3]]
STATES = ["completed", "stopped", "completed", "stopped"]


def study(**config):
    return study_of([{"x": 1}] * 4, CURVES, STATES, max_epochs=4, **config)


def in_order_of_epochs(data):
    """The study with its history in the order in which epochs ended, as in a study directory."""
    return StudyData(data.trials, data.history.sort_values("epoch", kind="stable", ignore_index=True), data.info, ["x"])


def test_the_studys_own_setting_stops_the_same_trials():
    row = replay(study(), 1, 2)
    assert (row["stopped"], row["same_stops"], row["unknown"], row["whole"]) == (2, 2, 0, True)
    assert (row["epochs"], row["best"], row["completed"]) == (10, 0.9, 2)


def test_a_setting_that_would_have_continued_a_stopped_trial_is_not_whole():
    row = replay(study(), 2, 2)
    assert (row["unknown"], row["whole"]) == (2, False)
    assert row["stopped"] == 0


def test_the_studys_own_setting_is_marked():
    table = other_settings(study(grace_period=1, reduction_factor=2))
    assert table.loc[table["own"], ["grace", "factor"]].to_numpy().tolist() == [[1, 2]]
    assert table["grace"].lt(4).all()


def test_epochs_are_ordered_by_the_file_or_by_time():
    by_time = history_in_time_order(study())["trial_id"].tolist()
    # Trials are created at 0, 1, 2 and 3 s and an epoch takes 2 s. Epochs end at 2 4 6 8, 3, 4 6 8 10, 5.
    assert by_time[:3] == ["t0000", "t0001", "t0000"]
    by_file = in_order_of_epochs(study())
    assert history_in_time_order(by_file)["trial_id"].tolist() == by_file.history["trial_id"].tolist()


def test_best_against_epochs_spent():
    table = best_by_part(in_order_of_epochs(study()), 5)
    assert table["epochs_spent"].tolist() == [2, 4, 6, 8, 10]
    assert table["trials_begun"].tolist() == [2, 4, 4, 4, 4]
    assert table["best_val_acc"].tolist() == [0.5, 0.6, 0.7, 0.7, 0.9]


def test_slots_are_busy_while_trials_train():
    assert busy_between(np.array([0.0, 1.0]), np.array([2.0, 4.0]), np.array([0, 2, 4])).tolist() == [1.5, 1.0]
    table = utilisation(study(), 2)
    # 12 / 5 by the times of creation: a trial that waited for a slot counts beside the one that it waited for.
    assert table["busy"].tolist() == [2.0, pytest.approx(8 / 5)]
    assert table["slots"].tolist() == [2, 2]
    assert table["utilisation"].tolist() == [1.0, pytest.approx(0.8)]
    assert utilisation(study(max_concurrent=4), 2)["utilisation"].tolist() == [pytest.approx(0.6), pytest.approx(0.4)]
