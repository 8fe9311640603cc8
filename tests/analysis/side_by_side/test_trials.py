from dataclasses import replace

import numpy as np
import pytest

from analysis.side_by_side.trials import best_trials, curve_metrics, differing_parameters, trial_curves
from tests.analysis.studies import study_of

PARAMS = [{"lr": 0.1, "depth": 2}, {"lr": 0.2, "depth": 2}, {"lr": 0.3, "depth": 2}]


@pytest.fixture
def study():
    return study_of(PARAMS, [[0.2, 0.5], [0.4, 0.9], [0.7]], ["completed", "failed", "stopped"])


def test_the_best_trials_come_first_and_a_failed_one_is_none_of_them(study):
    assert best_trials(study, 5) == ["t0002", "t0000"]
    assert best_trials(study, 1) == ["t0002"]


def test_of_a_loss_the_lowest_is_the_best(study):
    assert best_trials(replace(study, mode="min"), 1) == ["t0000"]


def test_curves_have_the_finite_values_in_order(study):
    study.history.loc[0, "val_acc"] = np.inf
    curves = trial_curves(study, ["t0001", "t0000"], "val_acc")
    assert curves.to_numpy().tolist() == [["t0000", 2, 0.5], ["t0001", 1, 0.4], ["t0001", 2, 0.9]]


def test_the_own_metric_comes_first_and_metrics_without_values_are_left_out(study):
    study.history["train_acc"] = np.nan
    assert list(curve_metrics(study)) == ["val_acc", "val_loss", "train_loss"]
    named = curve_metrics(replace(study, metric="best_val_macro_f1"))
    assert named["val_acc"] == "validation macro F1"
    assert list(named.values()).count("validation macro F1") == 1


def test_hyperparameters_are_told_apart_from_those_that_are_alike(study):
    table, alike = differing_parameters(study, ["t0002", "t0000", "t9999"])
    assert table[["trial_id", "lr"]].to_numpy().tolist() == [["t0002", 0.3], ["t0000", 0.1]]
    assert alike == {"depth": "2"}
    assert differing_parameters(study, ["t0000"])[1] == {"lr": "0.1", "depth": "2"}


def test_without_trials_there_is_nothing_to_tell_apart(study):
    table, alike = differing_parameters(study, [])
    assert (len(table), alike) == (0, {})
