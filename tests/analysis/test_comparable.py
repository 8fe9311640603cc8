from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.budgets import common_epoch, rungs
from analysis.comparable import ACCURACY, best_so_far, best_trials, sample_at
from analysis.study import StudyData
from tests.analysis.studies import study_of

PARAMS = [{"x": i % 2, "fixed": 1} for i in range(4)]


def asha(**config):
    curves = [[0.1, 0.5, 0.4, 0.6], [0.2, 0.3], [0.1, 0.4], [0.3, 0.2, 0.9]]
    return study_of(PARAMS, curves, ["completed", "stopped", "failed", "completed"], **config)


def test_trials_are_compared_within_the_same_epochs():
    sample = sample_at(asha(), 2)
    assert sample.trials[ACCURACY].tolist() == [0.5, 0.3, 0.4, 0.3]
    assert (sample.epochs, sample.total, sample.ended_earlier) == (2, 4, 0)
    assert sample.parameters == ["x"]
    assert sample.budget_text == "best validation accuracy within 2 epochs, 4 of 4 trials"


def test_a_later_budget_includes_completed_trials_but_not_stopped_ones():
    sample = sample_at(asha(), 4)
    assert sample.trials[ACCURACY].tolist() == [0.6, 0.9]
    assert sample.ended_earlier == 1
    assert "2 of 4 trials, 1 of which ran out of patience earlier; the other trials were stopped" in sample.budget_text


def test_the_default_budget_is_the_epoch_that_all_trials_reached():
    assert common_epoch(asha()) == 2
    assert common_epoch(study_of(PARAMS, [[0.1] * 5] * 4)) == 5
    assert sample_at(asha()).epochs == 2


def test_nan_epochs_and_trials_without_a_result_are_left_out():
    study = study_of(PARAMS, [[np.nan, 0.3], [np.nan, np.nan], [0.2, np.nan], [0.1, 0.1]])
    assert sample_at(study, 2).trials[ACCURACY].tolist() == [0.3, 0.2, 0.1]
    best = best_so_far(study.history, "max")["best_val_acc"].tolist()
    assert best[4:] == [0.2, 0.2, 0.1, 0.1]


def test_rungs_come_from_the_configuration_or_from_the_epochs_of_stops():
    assert rungs(asha(grace_period=1, reduction_factor=3, max_epochs=27)) == [1, 3, 9, 27]
    assert rungs(asha(grace_period=3, reduction_factor=3, max_epochs=20)) == [3, 9, 20]
    assert rungs(asha()) == [2, 4]


def test_without_curves_the_budget_text_says_unequal():
    study = asha()
    sample = sample_at(StudyData(study.trials, study.history.iloc[:0], {}, study.parameters))
    assert sample.trials[ACCURACY].tolist() == [0.6, 0.3, 0.9]
    assert "unequal budgets" in sample.budget_text


def test_the_best_trials_follow_the_studys_mode():
    table = best_trials(asha(), 2)
    assert table["trial_id"].tolist() == ["t0003", "t0000"]
    assert list(table) == ["trial_id", "name", "state", "best_val_acc", "epochs", "x"]
    assert best_trials(replace(asha(), mode="min"))["trial_id"].tolist() == ["t0001", "t0000", "t0003"]


def test_nothing_to_compare_is_an_error_with_advice():
    for epochs in (99, 0, -1):
        with pytest.raises(ValueError, match=f"no trial trained for {epochs} epochs; choose a budget of 1 to 4 epochs"):
            sample_at(asha(), epochs)
    with pytest.raises(ValueError, match="all 4 trials failed; mend the cause"):
        sample_at(study_of(PARAMS, [[]] * 4, ["failed"] * 4))


def test_one_trial_is_a_sample_in_which_nothing_varies():
    sample = sample_at(study_of([{"x": 1}], [[0.5]]))
    assert (len(sample), sample.parameters) == (1, [])
    assert pd.notna(sample.trials[ACCURACY]).all()
