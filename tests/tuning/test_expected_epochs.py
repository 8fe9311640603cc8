import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.tuning.expected_epochs import expected_epochs, expected_survivors
from inat.tuning.ray_backend.asha import StudyASHA
from tests.tuning.ray_backend.test_asha import SimpleNamespace


@given(trials=st.floats(0, 2000), factor=st.integers(2, 8))
def test_a_share_of_the_trials_passes_a_rung(trials, factor):
    passed = expected_survivors(trials, factor)
    assert min(trials, trials / factor) <= passed <= trials


@given(trials=st.integers(1, 300), factor=st.integers(2, 5), last=st.integers(1, 60))
def test_asha_never_adds_epochs(trials, factor, last):
    rungs = [epoch for epoch in (3, 9, 27) if epoch < last]
    assert min(rungs[:1] or [last]) * trials <= expected_epochs(trials, rungs, last, factor) <= trials * last + 1e-6


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_expectation_is_that_of_rays_scheduler(factor):
    passed, repetitions, trials = 0, 60, 40
    draw = random.Random(0)
    for _ in range(repetitions):
        asha = StudyASHA(max_epochs=9, grace_period=3, reduction_factor=factor)
        for number in range(trials):
            trial = SimpleNamespace(trial_id=f"t{number:04d}")
            asha.on_trial_add(None, trial)
            result = {"epoch": 3, "best_val_acc": draw.random()}
            passed += asha.on_trial_result(None, trial, result) == "CONTINUE"
    assert passed / repetitions == pytest.approx(expected_survivors(trials, factor), rel=0.05)
