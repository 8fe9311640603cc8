import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.report import key_findings
from analysis.report.sections.early_stopping import early_stopping_findings
from tests.analysis.studies import study_of


def test_an_unfinished_search_is_a_finding():
    study = study_of([{"a": 1}, {"a": 2}], [[0.5], [0.6]], ["completed", "running"], num_samples=12)
    assert key_findings.unfinished_search(study) == [
        "The search has not finished (1 of 12 trials have ended; it is running or was interrupted)."
    ]
    assert key_findings.unfinished_search(study_of([{"a": 1}], [[0.5]], ["completed"], num_samples=1)) == []


@pytest.mark.parametrize(("state", "finished"), [("completed", True), ("running", False), (None, False)])
def test_the_trials_of_a_time_plan_are_an_estimate(tmp_path, state, finished):
    study = study_of([{"a": 1}, {"a": 2}], [[0.5], [0.6]], ["completed", "stopped"], num_samples=3)
    study = replace(study, info=study.info | {"time_plan": {"trials": 3}}, path=tmp_path)
    if state:
        (tmp_path / "last").mkdir()
        last = study_of([{"a": 1}], [[0.7]], [state])
        last.trials.to_csv(tmp_path / "last" / "trials.csv", index=False)
        last.history.to_csv(tmp_path / "last" / "history.csv", index=False)
        (tmp_path / "last" / "study.json").write_text(json.dumps(last.info))
    assert (key_findings.unfinished_search(study) == []) is finished


def test_equal_trials_are_named_without_failed_and_infinite_ones():
    accuracies = [[0.9], [0.9], [0.896], [0.8], [0.9], [np.inf]]
    study = study_of([{"a": i} for i in range(6)], accuracies, ["completed"] * 4 + ["failed", "completed"])
    equal = "1 other trial has the same accuracy, and the first of equal trials counts as the best"
    assert key_findings.trials_like_the_best(study, {}) == [f"The best trial may be the best by chance ({equal})."]
    study.info["class_counts"] = {"train": [500, 400], "val": [60, 40], "test": [60, 40]}
    assert key_findings.trials_like_the_best(study, {}) == [
        "The best trial may be the best by chance (all 3 other trials cannot be told from the best one on 100 "
        "validation photos; compared by accuracy alone, as no answers are kept, where a difference of 0.119 is found "
        f"in 80 % of cases; {equal})."
    ]


COUNTS = {"train": [2, 9, 9], "val": [1, 2, 1], "test": [2, 2, 6]}


@pytest.mark.parametrize(
    ("best", "test", "text"),
    [
        (0.5, 0.2, "validation accuracy 0.5000 against 0.5000; test accuracy 0.2000 against 0.2000"),
        (0.6, 0.1, "test accuracy 0.1000 against 0.2000"),
        (0.4, 0.3, "validation accuracy 0.4000 against 0.5000"),
        (0.6, 0.3, ""),
    ],
)
def test_a_best_trial_that_is_no_better_than_a_constant_answer_is_a_finding(best, test, text):
    study = study_of([{"a": 1}, {"a": 2}], [[0.3], [best]])
    study.info.update({"class_counts": COUNTS, "data": {"classes": ["ant", "bee", "cat"]}})
    best_json = {"trial_id": "t0001", "test": {"test_acc": test, "images": 10}}
    found = key_findings.no_better_than_constant(study, best_json)
    assert found == ([f"The best trial is no better than always answering bee ({text})."] if text else [])


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ((0.3, 0.5, 0.6), "The best trial is 0.1000 better than always answering bee (validation accuracy 0.6000 "
                          "against 0.5000; 2 of 3 trials are no better)."),
        ((0.6, 0.5, 0.8), "The best trial is 0.3000 better than always answering bee (validation accuracy 0.8000 "
                          "against 0.5000; 1 of 3 trials is no better)."),
        ((0.6, 0.7), "The best trial is 0.2000 better than always answering bee (validation accuracy 0.7000 against "
                     "0.5000; all trials are better)."),
        ((0.6,), "The best trial is 0.1000 better than always answering bee (validation accuracy 0.6000 against "
                 "0.5000)."),
        ((0.5, 0.4), "2 of 2 trials are no better than always answering bee."),
    ],
)  # fmt: skip
def test_trials_are_counted_against_a_constant_answer(results, text):
    study = study_of([{"a": i} for i in range(len(results))], [[value] for value in results])
    study.info.update({"class_counts": COUNTS, "data": {"classes": ["ant", "bee", "cat"]}})
    assert key_findings.trials_against_constant(study, {}) == [text]


def test_failed_and_unfinished_results_are_not_counted_against_a_constant_answer():
    study = study_of(
        [{"a": i} for i in range(4)], [[0.6], [0.1], [], [np.inf]], ["completed", "failed", "failed", "stopped"]
    )
    study.info["class_counts"] = COUNTS
    (text,) = key_findings.trials_against_constant(study, {})
    assert text == "The best trial is 0.1000 better than a constant answer (validation accuracy 0.6000 against 0.5000)."


def test_a_study_without_counts_has_no_finding_about_a_constant_answer():
    assert key_findings.no_better_than_constant(study_of([{"a": 1}], [[0.0]]), {}) == []
    assert key_findings.no_better_than_constant(study_of([{"a": 1}], [[0.0]], ["failed"]), {}) == []
    assert key_findings.trials_against_constant(study_of([{"a": 1}], [[0.0]]), {}) == []


def test_the_constant_answer_is_compared_in_the_direction_of_the_metric():
    study = replace(study_of([{"a": 1}], [[1.5]]), metric="best_val_loss")
    study.info["class_counts"] = {"train": [1, 1], "val": [1, 1], "test": [1, 1]}
    (text,) = key_findings.no_better_than_constant(study, {})
    assert key_findings.trials_against_constant(replace(study, mode="min"), {}) == []  # the only trial
    assert text == "The best trial is no better than a constant answer (validation loss 1.5000 against 0.6931)."


def test_epochs_saved_are_compared_with_training_the_stopped_trials_longer():
    curves = [[0.5] * 9, [0.6] * 5, [0.1] * 3, [0.2] * 3]
    study = study_of(
        [{"a": i} for i in range(4)], curves, ["completed", "completed", "stopped", "stopped"],
        grace_period=3, reduction_factor=3, max_epochs=9,
    )  # fmt: skip
    # 9 + 5 + 3 + 3 epochs; with both stopped trials at 9 epochs 32; at the completed trials' mean of 7 epochs 28.
    assert early_stopping_findings(study) == [
        "Early stopping saved 12 epochs (20 trained; 32 if the 2 stopped trials had trained to epoch 9, 28 if as long "
        "as completed trials on average).",
        "How many winners early stopping missed, and whether effects hold at the last epoch, cannot be known (0 ended "
        "control trials that ASHA would have stopped, 5 needed; see --control-fraction).",
    ]
    assert early_stopping_findings(study_of([{"a": 1}], [[0.5]])) == []


def test_decided_claims_are_listed_with_their_evidence():
    row = {"claim": "a=1 > 2", "verdict": "supported", "effect": 0.19, "low": 0.05, "high": 0.33, "trials": 20,
           "rival_trials": 28, "epochs": 3, "note": ""}  # fmt: skip
    table = pd.DataFrame([row, row | {"verdict": "undecided"}, row | {"verdict": "not testable"}])
    assert key_findings.takeaway_findings(table) == [
        "Of 3 takeaways published for nature_12K about its hyperparameters, this study supports 1, contradicts 0 and "
        "leaves 1 undecided at 3 epochs (1 not testable).",
        "Supported: a=1 > 2 (+0.190, 95 % interval 0.050 to 0.330, at 3 epochs, 48 trials).",
    ]


def test_a_study_with_all_hyperparameters_is_asked_about_all_ten_claims():
    row = {"claim": "a=1 > 2", "verdict": "undecided", "effect": 0.1, "low": 0.0, "high": 0.2, "trials": 20,
           "rival_trials": 28, "epochs": 3, "note": ""}  # fmt: skip
    assert key_findings.takeaway_findings(pd.DataFrame([row] * 10)) == [
        "Of the ten takeaways published for nature_12K, this study supports 0, contradicts 0 and leaves 10 undecided "
        "at 3 epochs."
    ]


def test_claims_about_other_hyperparameters_are_not_a_finding():
    assert key_findings.takeaway_findings(pd.DataFrame({"verdict": ["not testable"] * 10})) == []


def test_failures_are_reported_with_their_most_frequent_reason():
    study = study_of([{"a": i} for i in range(3)], [[]] * 3, ["failed"] * 3)
    study.trials["error"] = ["out of memory", "out of memory", "bad"]
    assert key_findings.failed_trials(study) == ["3 trials failed (most frequent reason, 2 trials: out of memory)."]
