import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.objective import ACCURACY, OBJECTIVES, objective_of
from inat.errors import StudyError

LOSS = OBJECTIVES["val_loss"]


@given(st.lists(st.floats(0, 1), min_size=1), st.sampled_from(list(OBJECTIVES.values())))
def test_the_best_value_is_the_one_that_no_other_beats(values, objective):
    best = objective.best(values)
    assert best == (min(values) if objective is LOSS else max(values))
    assert not any(objective.better(value, best) for value in values)
    assert all(objective.reaches(best, value) for value in values)


@given(st.floats(allow_nan=False), st.sampled_from(list(OBJECTIVES.values())))
def test_a_clamped_value_is_between_the_worst_and_the_ideal_one(value, objective):
    clamped = objective.clamp(value)
    assert objective.reaches(clamped, objective.worst)
    assert objective.reaches(objective.ideal, clamped)
    if objective.reaches(value, objective.worst) and objective.reaches(objective.ideal, value):
        assert clamped == value


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=str)
def test_nan_is_never_better_and_reaches_nothing(objective):
    assert not objective.better(math.nan, objective.worst)
    assert not objective.better(objective.ideal, math.nan)
    assert not objective.reaches(math.nan, objective.worst)


@pytest.mark.parametrize("info", [{}, {"config": {}}, {"config": None}, {"config": {"metric": "accuracy"}}])
def test_a_study_without_a_metric_optimised_the_accuracy(info):
    assert objective_of(info) is ACCURACY


@pytest.mark.parametrize("name", ["auc", None, ["accuracy"]])
def test_an_unknown_metric_is_refused(name):
    with pytest.raises(StudyError, match="names the unknown metric .*; choose from accuracy, balanced_accuracy"):
        objective_of({"config": {"metric": name}})


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=lambda one: one.name)
def test_a_value_that_is_no_number_counts_as_the_worst_one(objective):
    assert objective.clamp(math.nan) == objective.worst
    assert objective.clamp(-objective.sign * math.inf) == objective.worst
