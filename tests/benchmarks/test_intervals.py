import math

import pytest

from benchmarks.intervals import Mean, paired


def test_interval_is_students():
    mean = Mean.of([0.1, 0.2, 0.3])  # standard error 0.0577, t(2) = 4.303
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.2, 0.2 - 0.2484, 0.2 + 0.2484), abs=1e-4)
    assert mean.text() == "0.2000 (-0.0484 to 0.4484, n=3)"
    assert mean.fields("recipe") == "recipe=0.2 recipe_low=-0.04841 recipe_high=0.4484"


def test_a_single_training_has_no_interval():
    mean = Mean.of([0.25])
    assert math.isnan(mean.low)
    assert mean.text() == "0.2500 (n=1)"
    assert mean.fields("recipe") == "recipe=0.25"


def test_differences_are_paired_by_seed():
    assert paired({1: 0.5, 2: 0.75, 3: 0.9}, {2: 0.5, 1: 0.25}) == [0.25, 0.25]
