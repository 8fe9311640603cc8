import json
import math
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from inat.errors import ConfigError, StudyError
from inat.tuning.budget import rules
from inat.tuning.budget.plan import Facts, SizeCost, TimePlan, make_plan
from inat.tuning.expected_epochs import expected_epochs
from inat.tuning.rungs import Rungs


def size_cost(image_size: int = 64, epoch: float = 10.0, alone: float = 6.0, **changes: float) -> SizeCost:
    values = {"start": 1.0, "decode": 10.0, "test": 2.0, "operations": 10**7} | changes
    return SizeCost(image_size=image_size, epoch=epoch, alone=alone, **values)


def ladder(alone: float) -> list[SizeCost]:
    """Costs that grow with the number of pixels; ``alone`` is that of 64 px."""
    return [size_cost(side, 1.8 * alone * (side / 64) ** 2, alone * (side / 64) ** 2) for side in rules.SIDES]


def facts(**changes: float) -> Facts:
    return replace(Facts(seconds=1800.0, spent=3.0, slots=2, images=6000, side=300), **changes)


def test_half_an_hour_is_divided_between_a_search_and_a_last_training():
    plan = make_plan(facts(), ladder(20.0))
    assert plan.image_size == 64
    assert plan.trials >= rules.FEWEST_TRIALS
    assert rules.enough_epochs(6000) <= plan.last_epochs <= rules.most_epochs(6000)
    assert rules.FEWEST_SEARCH_EPOCHS <= plan.max_epochs <= plan.last_epochs
    assert plan.grace_period < plan.max_epochs
    assert plan.last_seconds <= rules.LAST_SHARE * plan.seconds
    assert 0.9 * plan.seconds < plan.total <= plan.seconds


def test_faster_machines_and_longer_times_get_larger_images_up_to_the_photos_own():
    sizes = [make_plan(facts(seconds=60.0 * minutes), ladder(12.0)).image_size for minutes in (5, 30, 120, 1000)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) >= 3
    assert make_plan(facts(seconds=60_000.0), ladder(1.0)).image_size == 224
    assert make_plan(facts(seconds=60_000.0, side=100), ladder(1.0)).image_size == 96


def test_photos_below_the_smallest_size_take_the_smallest():
    assert make_plan(facts(side=20), ladder(1.0)).image_size == 32


def test_a_size_that_the_user_gave_is_kept():
    assert make_plan(facts(side=50), [size_cost(128)]).image_size == 128


def test_too_little_time_for_a_search_trains_the_recipe_for_all_of_it():
    plan = make_plan(facts(seconds=200.0), [size_cost(epoch=16.0, alone=10.0)])
    assert (plan.trials, plan.search_seconds) == (1, 0.0)
    assert plan.total == pytest.approx(plan.start_seconds + plan.last_seconds + plan.end_seconds)
    assert not plan.searches
    assert plan.max_epochs == plan.last_epochs == 13  # (200 - 3 - 12 - 10 - 2 - 15 - 1) / (1.15 * 10)
    assert plan.grace_period == plan.max_epochs


def test_much_time_adds_trials_and_no_endless_training():
    plan = make_plan(facts(seconds=100_000.0), [size_cost()])
    assert plan.last_epochs == plan.max_epochs == 60
    assert plan.trials == rules.MOST_TRIALS
    assert plan.last_seconds < 1000


def test_more_slots_run_more_trials():
    one, four = (make_plan(facts(slots=slots), [size_cost()]) for slots in (1, 4))
    assert four.trials * four.max_epochs > one.trials * one.max_epochs
    assert (one.slots, four.slots) == (1, 4)


def test_a_time_without_an_epoch_is_refused_with_one_that_suffices():
    costs = [size_cost(alone=100.0, epoch=180.0)]
    with pytest.raises(
        ConfigError, match=r"time_budget 1 min 30 s is too short: an epoch takes 1 min 40 s .*; give at least 4m"
    ):
        make_plan(facts(seconds=90.0), costs)
    assert make_plan(facts(seconds=158.0), costs).last_epochs == 1


@given(
    seconds=st.floats(1.0, 1e6), spent=st.floats(0.0, 100.0), slots=st.integers(1, 64),
    images=st.integers(10, 1_000_000), side=st.integers(8, 4000), alone=st.floats(1e-3, 3000.0),
    parallel=st.floats(1.0, 64.0), start=st.floats(0.0, 30.0), factor=st.integers(2, 6), loading=st.floats(0.0, 200.0),
)  # fmt: skip
@example(60.0, 5.0, 2, 1149, 8, 0.3, 1.5, 0.5, 3, 5.0)
def test_every_plan_ends_within_the_time_and_trains(
    seconds, spent, slots, images, side, alone, parallel, start, factor, loading
):
    costs = [replace(cost, start=start, epoch=cost.alone * parallel) for cost in ladder(alone)]
    given_facts = facts(
        seconds=seconds, spent=spent, slots=slots, images=images, side=side, reduction_factor=factor, loading=loading
    )
    try:
        plan = make_plan(given_facts, costs)
    except ConfigError:
        smallest = costs[0]
        needed = (
            spent + start + smallest.decode + smallest.test + rules.start_seconds(loading) + rules.end_seconds(loading)
        )
        assert seconds < needed + rules.SAFETY * smallest.alone + 1
        return
    assert plan.total <= seconds * (1 + 1e-9)
    cost = next(cost for cost in costs if cost.image_size == plan.image_size)
    assert plan.image_size <= side or plan.image_size == rules.SIDES[0]
    assert 1 <= plan.last_epochs <= plan.most_epochs
    assert rules.SAFETY * plan.last_epochs * cost.alone + start <= plan.last_seconds * (1 + 1e-9)
    assert 1 <= plan.grace_period <= plan.max_epochs <= plan.last_epochs
    if plan.searches:
        assert plan.trials >= rules.FEWEST_TRIALS
        rungs = Rungs(plan.grace_period, factor, plan.max_epochs).milestones
        work = expected_epochs(plan.trials, rungs, plan.max_epochs, factor) * rules.SAFETY * cost.epoch
        assert work <= plan.search_seconds * slots * (1 + 1e-9)


@given(seconds=st.floats(60.0, 1e5), alone=st.floats(0.01, 100.0))
def test_a_plan_is_the_same_after_its_way_through_study_json(seconds, alone):
    try:
        plan = make_plan(facts(seconds=seconds), ladder(alone))
    except ConfigError:
        assume(False)
    again = TimePlan.from_json(json.loads(json.dumps(plan.to_json())), "results/try")
    assert again.to_json() == plan.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"trials": "many"},
        {"seconds": None},
        {"last_epochs": -1},
        {"slots": 1.5},
        {"alone_seconds": 0},
        {"epoch_seconds": math.inf},
        {"search_seconds": math.nan},
    ],
)
def test_a_damaged_plan_is_refused(change):
    values = make_plan(facts(), ladder(12.0)).to_json() | change
    with pytest.raises(StudyError, match=r"time_plan in study.json of results/try is damaged; restore it from a copy"):
        TimePlan.from_json(values, "results/try")


def test_an_epoch_too_short_to_measure_is_planned():
    plan = make_plan(facts(), [size_cost(alone=0.0, epoch=0.0)])
    assert TimePlan.from_json(plan.to_json(), "results/try").last_epochs == plan.most_epochs


@pytest.mark.parametrize("values", [[], 3, None])
def test_a_plan_that_is_no_object_is_refused(values):
    with pytest.raises(StudyError, match="damaged"):
        TimePlan.from_json(values, "results/try")


def test_more_images_in_the_last_training_mean_fewer_epochs_in_the_same_time():
    costs = [size_cost(alone=20.0, epoch=30.0)]
    plain, more = make_plan(facts(seconds=3600.0), costs), make_plan(facts(seconds=3600.0, refit=1.25), costs)
    assert more.last_epochs == pytest.approx(plain.last_epochs / 1.25, abs=1)
    assert more.last_seconds == pytest.approx(plain.last_seconds, rel=0.05)


def test_a_training_without_a_search_is_of_a_wider_network_if_it_has_enough_epochs():
    def plan(images: int, seconds: float = 1800.0):
        return make_plan(facts(seconds=seconds, images=images), [size_cost(epoch=120.0, alone=60.0, wider=(96, 2.0))])

    wide = plan(images=40_000)
    assert (wide.trials, wide.width, wide.alone_seconds, wide.operations) == (1, 96, 120.0, 2 * 10**7)
    assert rules.enough_epochs(40_000) <= wide.last_epochs <= 14
    narrow = plan(images=6000)  # would need 18 epochs
    assert (narrow.trials, narrow.width, narrow.alone_seconds) == (1, 0, 60.0)
    assert plan(images=40_000, seconds=900.0).width == 0


def test_plans_of_earlier_versions_have_no_width():
    written = make_plan(facts(), [size_cost()]).to_json()
    del written["width"]
    assert TimePlan.from_json(written, "study").width == 0
    with pytest.raises(StudyError, match="damaged"):
        TimePlan.from_json(written | {"width": "wide"}, "study")
