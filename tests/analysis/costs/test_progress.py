from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.costs.breaks import BREAK
from analysis.costs.progress import best_over_time
from tests.analysis.studies import study_of

CURVES = [[0.2, 0.4], [0.3, 0.5], [0.9]]


def with_times(study, created, seconds=None):
    start = pd.Timestamp("2026-01-01", tz="UTC")
    trials = study.trials.assign(created=[start + pd.Timedelta(seconds=s) for s in created])
    return replace(study, trials=trials if seconds is None else trials.assign(seconds=seconds))


def steps(study):
    return best_over_time(study).steps.to_dict("list")


def test_each_epoch_counts_when_it_ended():
    # Trials begin 10 s apart and need 2 s for an epoch; the third one is the best.
    found = steps(with_times(study_of([{"a": i} for i in range(3)], CURVES), [0, 10, 20]))
    assert found == {
        "seconds": [2, 4, 12, 14, 22],
        "trial_id": ["t0000", "t0000", "t0000", "t0001", "t0002"],
        "best_val_acc": [0.2, 0.4, 0.4, 0.5, 0.9],
    }


def test_failed_trials_take_time_and_have_no_result():
    study = study_of([{"a": i} for i in range(3)], CURVES, ["completed", "completed", "failed"])
    progress = best_over_time(with_times(study, [0, 10, 20]))
    assert progress.steps["seconds"].tolist() == [2, 4, 12, 14, 22]
    assert progress.steps["best_val_acc"].max() == 0.5


def test_without_times_of_creation_the_trainings_add_up():
    study = study_of([{"a": i} for i in range(3)], CURVES)
    progress = best_over_time(replace(study, trials=study.trials.assign(created=pd.NaT)))
    assert not progress.wall
    assert progress.steps["seconds"].tolist() == [2, 4, 6, 8, 10]


def test_without_epochs_each_trial_counts_at_its_end():
    study = study_of([{"a": i} for i in range(3)], CURVES)
    runs = with_times(replace(study, history=study.history.head(0)), [0, 1, 2], [30.0, 5.0, np.nan])
    progress = best_over_time(runs)
    assert progress.steps["seconds"].tolist() == [6, 30]
    assert progress.steps["best_val_acc"].tolist() == [0.5, 0.5]
    assert progress.without_time == 1


def test_an_interruption_is_left_out_of_the_time():
    study = with_times(study_of([{"a": i} for i in range(3)], CURVES), [0, 10, 90_000])
    progress = best_over_time(study)
    assert progress.breaks == 90_000 - 14
    assert progress.steps["seconds"].tolist() == [2, 4, 12, 14, 16]
    short = best_over_time(with_times(study, [0, 10, 14 + BREAK]))
    assert (short.breaks, short.steps["seconds"].iloc[-1]) == (0, 16 + BREAK)


def test_a_trial_that_waited_counts_no_earlier_than_the_epochs_before_it():
    study = study_of([{"a": 0}, {"a": 1}], [[0.2, 0.3], [0.5, 0.6]])
    order = [0, 2, 1, 3]  # in turn, as two slots write them
    history = study.history.iloc[order].reset_index(drop=True)
    found = steps(replace(with_times(study, [10, 0]), history=history))
    assert found["seconds"] == [12, 12, 14, 14]
    assert found["best_val_acc"] == [0.2, 0.5, 0.5, 0.6]


def test_the_lowest_value_is_the_best_of_a_metric_that_is_minimised():
    study = replace(study_of([{"a": 0}, {"a": 1}], [[0.9, 0.5], [0.7, 0.6]]), metric="val/loss", mode="min")
    study = replace(study, trials=study.trials.assign(best_val_acc=[0.5, 0.6]))
    assert steps(with_times(study, [0, 10]))["best_val_acc"] == [0.9, 0.5, 0.5, 0.5]


def test_the_recipe_and_a_constant_answer_are_known():
    study = with_times(study_of([{"a": i} for i in range(3)], CURVES), [0, 10, 20])
    counts = {"train": [3, 1], "val": [3, 1], "test": [3, 1]}
    progress = best_over_time(replace(study, info={"recipe_params": {"a": 1}, "class_counts": counts}))
    assert (progress.recipe["trial_id"], progress.recipe_end, progress.constant) == ("t0001", 14, 0.75)


def test_a_study_without_times_says_so():
    study = study_of([{"a": 0}], [[0.5]])
    unknown = replace(study, trials=study.trials.assign(seconds=np.nan), history=study.history.assign(seconds=np.nan))
    with pytest.raises(ValueError, match="no trial with a result has a recorded time"):
        best_over_time(unknown)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 3000), st.lists(st.floats(0, 1), min_size=1, max_size=4)), min_size=1, max_size=8)
)
def test_time_never_runs_back_and_the_best_never_falls(trials):
    created, curves = zip(*trials, strict=True)
    progress = best_over_time(with_times(study_of([{"a": i} for i in range(len(curves))], list(curves)), created))
    assert progress.steps["seconds"].diff().dropna().ge(-1e-6).all()
    assert progress.steps["seconds"].gt(0).all()
    assert progress.steps["best_val_acc"].is_monotonic_increasing
    assert progress.steps["best_val_acc"].iloc[-1] == max(map(max, curves))
    # No more time than from the first to the last end, and no less than the longest trial.
    assert progress.breaks >= 0
    assert progress.steps["seconds"].iloc[-1] >= 2 * max(map(len, curves)) - 1e-6
