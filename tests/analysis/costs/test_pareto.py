from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.comparable import sample_at
from analysis.costs.pareto import (
    EPOCH_SECONDS,
    NETWORKS,
    NO_BETTER,
    STOPPED_EARLY,
    WHOLE,
    WITHIN,
    cost_points,
    front_table,
    pareto_front,
)
from analysis.schema import SECONDS, TRAINABLE
from tests.analysis.studies import study_of

# Seconds an epoch: 2. The stopped trial is the best of all after one epoch.
CURVES = [[0.3, 0.5, 0.6], [0.4, 0.45, 0.5], [0.48], [0.2, 0.3, 0.55]]
STATES = ["completed", "completed", "stopped", "completed"]


@pytest.fixture
def study():
    made = study_of([{"lr": 10.0**-i} for i in range(4)], CURVES, STATES)
    return replace(made, trials=made.trials.assign(seconds=[9.0, 6.0, 2.0, 12.0], trainable_parameters=[4, 3, 2, 1]))


def front(points, compared, kind=SECONDS):
    own = points[points["compared"].eq(compared) & points["cost_kind"].eq(kind) & points["front"]]
    return dict(zip(own["trial_id"], own["cost"], strict=True))


def test_a_stopped_trial_is_on_the_front_only_at_an_equal_budget(study):
    points = cost_points(study, sample_at(study, 1))
    assert front(points, WHOLE) == {"t0001": 6, "t0000": 9}
    assert front(points, WITHIN) == {"t0002": 2}
    stopped = points[points["trial_id"].eq("t0002") & points["compared"].eq(WHOLE)]
    assert stopped["left_out"].unique().tolist() == [STOPPED_EARLY]


def test_parameters_are_another_cost(study):
    points = cost_points(study, sample_at(study, 1))
    assert front(points, NETWORKS, TRAINABLE) == {"t0003": 1, "t0000": 4}
    same = replace(study, trials=study.trials.assign(trainable_parameters=5))
    assert TRAINABLE not in set(cost_points(same)["cost_kind"])


def test_a_trial_no_better_than_a_constant_answer_is_on_no_front(study):
    counts = {"train": [11, 9], "val": [11, 9], "test": [11, 9]}  # 0.55
    points = cost_points(replace(study, info={"class_counts": counts}), sample_at(study, 1))
    assert front(points, WHOLE) == {"t0000": 9}
    assert front(points, WITHIN) == {}
    whole = points[points["compared"].eq(WHOLE) & points["cost_kind"].eq(SECONDS)]
    assert whole["left_out"].tolist() == ["", NO_BETTER, STOPPED_EARLY, NO_BETTER]


def test_failed_and_running_trials_have_no_point(study):
    states = study.trials.assign(state=["failed", "completed", "stopped", "running"])
    assert set(cost_points(replace(study, trials=states))["trial_id"]) == {"t0001", "t0002"}


def test_without_early_stopping_no_budget_is_compared(study):
    whole = replace(study, trials=study.trials.assign(state="completed"))
    assert set(cost_points(whole, sample_at(whole, 1))["compared"]) == {WHOLE, NETWORKS}


def test_a_stopped_network_counts_with_what_it_has(study):
    small = replace(study, trials=study.trials.assign(trainable_parameters=[4, 3, 1, 2]))
    assert front(cost_points(small), NETWORKS, TRAINABLE) == {"t0002": 1, "t0003": 2, "t0000": 4}


def test_seconds_per_epoch_are_the_cost_of_a_study_that_asked_for_them(study):
    seconds = study.history["trial_id"].map({"t0000": 4.0, "t0001": 1.0, "t0002": 2.0, "t0003": 3.0})
    first = study.history["epoch"].eq(1)
    slow = replace(study, history=study.history.assign(seconds=seconds.mask(first & seconds.eq(1.0), 99.0)))
    assert EPOCH_SECONDS not in set(cost_points(slow)["cost_kind"])
    asked = replace(slow, info={"config": {"cost": "epoch-seconds"}})
    assert front(cost_points(asked), NETWORKS, EPOCH_SECONDS) == {"t0001": 1, "t0003": 3, "t0000": 4}


def test_a_loss_is_better_the_lower_it_is(study):
    points = cost_points(replace(study, mode="min", metric="val/loss"))
    assert front(points, WHOLE) == {"t0001": 6}


def test_a_study_without_seconds_and_parameters_has_no_points(study):
    bare = replace(study, trials=study.trials.assign(seconds=float("nan"), trainable_parameters=None))
    assert not len(cost_points(bare))


def test_the_front_is_listed_from_cheap_to_dear_with_its_configuration(study):
    points = cost_points(study)
    own = points[points["cost_kind"].eq(SECONDS)]
    table = front_table(study, own, ["lr"])
    assert table.to_dict("list") == {
        "trial_id": ["t0001", "t0000"], "state": ["completed"] * 2, "seconds": [6, 9], "result": [0.5, 0.6],
        "epochs": [3, 3], "seconds_per_epoch": [2, 3], "lr": [0.1, 1],
    }  # fmt: skip
    assert not len(front_table(study, own.assign(front=False), ["lr"]))


NUMBERS = st.integers(1, 6).map(float)


@settings(max_examples=60)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.booleans()), max_size=12))
def test_a_point_is_on_the_front_if_no_other_is_as_cheap_and_as_good(points):
    frame = pd.DataFrame(points, columns=["cost", "value", "comparable"]).astype({"comparable": bool})
    found = pareto_front(frame["cost"], frame["value"], frame["comparable"])
    own = frame[frame["comparable"]]
    for place, row in frame.iterrows():
        others = own[own["cost"].le(row["cost"]) & own["value"].ge(row["value"])].drop(place, errors="ignore")
        better = others[(others["cost"] < row["cost"]) | (others["value"] > row["value"])]
        equal_before = others[others["cost"].eq(row["cost"]) & others["value"].eq(row["value"])].index < place
        assert found[place] == (row["comparable"] and not len(better) and not equal_before.any())
