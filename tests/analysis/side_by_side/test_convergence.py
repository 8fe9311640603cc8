from dataclasses import replace

import numpy as np
import pytest

from analysis.side_by_side.convergence import convergence, convergence_curves, epochs_to_95, level_of
from tests.analysis.studies import study_of

FAST, SLOW = [0.5, 0.78, 0.8, 0.8], [0.2, 0.4, 0.6, 0.8]


def test_the_first_epoch_with_95_percent_of_the_own_best_counts():
    study = study_of([{"x": 1}, {"x": 2}, {"x": 3}], [FAST, SLOW, [0.96, 0.2, 1.0]])
    assert epochs_to_95(study).tolist() == [2, 4, 1]


def test_a_loss_converges_downwards():
    study = replace(study_of([{"x": 1}], [[2.0, 1.04, 1.06, 1.0]]), mode="min")
    assert level_of(1.0, -1) == pytest.approx(1.0526, abs=1e-4)
    assert epochs_to_95(study).tolist() == [2]


def test_rows_have_medians_of_completed_trials_and_a_level_that_all_reach():
    strategies = ["freeze_all"] * 3 + ["unfreeze_all"] * 2
    curves = [FAST, FAST, SLOW, [0.9, 0.9], SLOW]
    states = ["completed", "completed", "stopped", "completed", "completed"]
    study = study_of([{"strategy": name, "x": i} for i, name in enumerate(strategies)], curves, states)
    table = convergence({"s": study}).set_index("strategy")
    assert table["completed"].tolist() == [2, 2]
    assert table.at["freeze_all", "epochs_to_95"] == 2.0
    assert table.at["unfreeze_all", "epochs_to_95"] == 2.5  # of 1 and 4
    assert table["level"].tolist() == pytest.approx([0.76, 0.76])  # 95 % of the worse best, 0.8
    assert table["epochs_to_level"].tolist() == [2, 1]
    assert table.at["freeze_all", "seconds_to_95"] == 4.0
    assert table.at["unfreeze_all", "seconds_to_95"] == 2.0


def test_curves_never_fall():
    study = study_of([{"x": 1}], [[0.5, 0.3, np.nan, 0.6]])
    assert convergence_curves({"s": study})["value"].tolist() == [0.5, 0.5, 0.5, 0.6]


def test_without_a_result_there_is_no_row():
    study = study_of([{"x": 1}], [[0.5]], ["failed"])
    assert len(convergence({"s": study})) == len(convergence_curves({"s": study})) == 0
