import numpy as np
import pandas as pd
import pytest

from analysis.report import key_findings
from tests.analysis.studies import study_of


def test_a_search_that_is_not_at_its_end_says_so():
    study = study_of([{"a": 1}, {"a": 2}], [[0.5], [0.6]], ["completed", "running"], num_samples=12)
    assert key_findings.unfinished(study) == [
        "The search is not at its end: 1 of 12 trials have ended; it is running or was interrupted."
    ]
    assert key_findings.unfinished(study_of([{"a": 1}], [[0.5]], ["completed"], num_samples=1)) == []


def test_trials_as_good_as_the_best_leave_out_failed_and_infinite_ones():
    accuracies = [[0.9], [0.9], [0.896], [0.8], [0.9], [np.inf]]
    study = study_of([{"a": i} for i in range(6)], accuracies, ["completed"] * 4 + ["failed", "completed"])
    (sentence,) = key_findings.close_to_best(study)
    assert sentence.startswith(
        "2 other trials came within 0.005 of the best validation accuracy, 1 of them just as high"
    )


def test_epochs_saved_are_against_the_stopped_trials_going_on():
    curves = [[0.5] * 9, [0.6] * 5, [0.1] * 3, [0.2] * 3]
    study = study_of(
        [{"a": i} for i in range(4)], curves, ["completed", "completed", "stopped", "stopped"],
        grace_period=3, reduction_factor=3, max_epochs=9,
    )  # fmt: skip
    (sentence,) = key_findings.saved(study)
    # 9 + 5 + 3 + 3 epochs; with both stopped ones at 9 epochs 32; at the completed ones' mean of 7 epochs 28.
    assert sentence == (
        "20 epochs were trained. Had the 2 stopped trials gone on to epoch 9, it would have been 32; or for as long as "
        "completed ones did, 28."
    )


@pytest.mark.parametrize(
    ("expected", "text"),
    [(0.0, "No sign of a stopped winner, though up to 8 cannot"), (1.24, "About 1.2 stopped trials would have beaten")],
)
def test_missed_winners_are_told_with_what_cannot_be_ruled_out(expected, text):
    assert key_findings.winners(expected, 7.9).startswith(text)


def test_claims_about_other_hyperparameters_are_not_told():
    assert key_findings.claims_told(pd.DataFrame({"verdict": ["not testable"] * 10})) == []
    assert key_findings.claims_told(pd.DataFrame({"verdict": ["not testable", "supported"]})) != []


def test_failures_have_their_first_reason():
    study = study_of([{"a": i} for i in range(3)], [[]] * 3, ["failed"] * 3)
    study.trials["error"] = ["out of memory", "out of memory", "bad"]
    assert key_findings.failed(study) == ["3 trials failed, 2 of them with: out of memory"]
