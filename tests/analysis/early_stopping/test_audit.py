import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.early_stopping.audit import failures, rung_correlations, savings
from analysis.report.sections.early_stopping import early_stopping_findings
from analysis.study import StudyData
from tests.analysis.studies import study_of


def search(n=30, seed=0):
    """Trials of 9 epochs whose early ranks are close to the final ranks; the worse half is stopped at epoch 3."""
    rng = np.random.default_rng(seed)
    final = rng.uniform(0.3, 0.9, n)
    early = final - 0.2 + rng.normal(scale=0.02, size=n)
    states = ["completed" if e > np.median(early) else "stopped" for e in early]
    curves = [
        [*np.linspace(e - 0.1, e, 3), *np.linspace(e, f, 6)][: 9 if state == "completed" else 3]
        for e, f, state in zip(early, final, states, strict=True)
    ]
    params = [{"x": i % 2} for i in range(n)]
    return study_of(params, curves, states, grace_period=3, reduction_factor=3, max_epochs=9)


def test_savings_computed_by_hand():
    curves, states = [[0.1] * 9, [0.1] * 5, [0.1] * 3, [0.1] * 3], ["completed"] * 2 + ["stopped"] * 2
    study = study_of([{"x": 1}] * 4, curves, states, grace_period=3, reduction_factor=3, max_epochs=9)
    table = savings(study).set_index("against")
    assert table.loc["max_epochs", "epochs_saved"] == 12
    assert table.loc["max_epochs", "seconds_saved"] == 24
    assert table.loc["max_epochs", "share_saved"] == pytest.approx(12 / 32)
    assert table.loc["as completed trials", "epochs_saved"] == 8  # to the mean of 9 and 5


def test_a_stopped_trial_would_have_trained_on_in_all_folds_and_repeats():
    curves, states = [[0.1] * 18, [0.1] * 3, [0.1] * 4], ["completed", "stopped", "stopped"]
    study = study_of(
        [{"x": 1}] * 3, curves, states, grace_period=1, reduction_factor=3, max_epochs=3, folds=3, repeats=2
    )
    row = savings(study).set_index("against").loc["max_epochs"]
    assert (row["epochs_per_trial"], row["epochs_spent"], row["epochs_saved"]) == (18, 25, 15 + 14)
    found = early_stopping_findings(study)[0]
    assert found.startswith("Early stopping saved 29 epochs (25 trained; 54 if the 2 stopped trials had trained to ")
    assert "to epoch 3 of all 6 trainings" in found


def test_rung_correlation_is_scipys_over_the_survivors():
    study = search()
    row = rung_correlations(study).iloc[0]
    best = study.history.groupby("trial_id")["val_acc"]
    early = best.apply(lambda curve: curve.iloc[:3].max())
    survivors = study.trials.loc[study.trials["state"].eq("completed"), "trial_id"]
    expected = stats.spearmanr(early[survivors], best.max()[survivors]).statistic
    assert (row["early"], row["late"], row["trials"]) == (3, 9, 15)
    assert row["spearman"] == pytest.approx(expected)
    assert row["low"] < expected < row["high"]


def test_failures_that_differ_only_in_numbers_have_the_same_reason():
    study = study_of([{"x": 1}] * 5, [[0.1], [], [], [0.2], []], ["completed"] + ["failed"] * 4)
    errors = ["", "out of memory: 12 GB\ntrace", "out of memory: 7.5 GB", float("nan"), "ValueError"]
    table = failures(StudyData(study.trials.assign(error=errors), study.history, {}, ["x"]))
    assert table["trials"].tolist() == [2, 1, 1]
    assert table.loc[0, "reason"] == "out of memory: 12 GB"
    assert table.loc[0, "examples"] == "t0001, t0002"
    assert set(table["reason"]) >= {"no reason recorded", "ValueError"}


def test_studies_of_failed_trials_and_of_one_trial():
    failed = study_of([{"x": 1}] * 3, [[]] * 3, ["failed"] * 3)
    single = study_of([{"x": 1}], [[0.5]])
    for study in (failed, single):
        for table in (savings(study), rung_correlations(study), failures(study)):
            assert isinstance(table, pd.DataFrame)
    assert failures(failed)["trials"].tolist() == [3]
