"""The comparison of image sizes before a planned search."""

import signal
from dataclasses import replace

import pytest
import torch

from inat.config.search import SearchConfig
from inat.signals import interruptible_training
from inat.tuning.budget import rules, size_comparison
from inat.tuning.budget.measure import Planned
from inat.tuning.budget.photos import look_at_photos
from inat.tuning.budget.plan import make_plan
from inat.tuning.budget.size_comparison import (
    Comparison,
    SizeResult,
    choose_size,
    compare_sizes,
    plan_comparison,
)
from inat.tuning.budget.wording import describe_comparison, describe_results
from inat.tuning.ray_backend.slots import Slots
from tests.tuning.budget.test_plan import facts, ladder, size_cost


def test_the_size_of_the_plan_is_compared_with_about_half_and_a_quarter_of_it():
    costs = ladder(0.5)
    plan = make_plan(facts(), costs)
    assert plan.image_size == 224
    comparison = plan_comparison(plan, costs)
    assert [cost.image_size for cost in comparison.costs] == [48, 96, 224]
    assert rules.FEWEST_SEARCH_EPOCHS <= comparison.epochs <= plan.max_epochs
    assert comparison.seconds <= rules.COMPARISON_SHARE * plan.seconds


def test_slow_machines_compare_fewer_sizes_or_none():
    costs = ladder(8.0)
    plan = replace(make_plan(facts(), costs), image_size=96)
    one = replace(plan, seconds=1050.0)
    assert [cost.image_size for cost in plan_comparison(plan, costs).costs] == [32, 48, 96]
    assert [cost.image_size for cost in plan_comparison(one, costs).costs] == [48, 96]
    assert plan_comparison(replace(plan, seconds=500.0), costs) is None


def test_one_size_and_a_plan_without_a_search_have_nothing_to_compare():
    assert plan_comparison(make_plan(facts(), [size_cost(64)]), [size_cost(64)]) is None
    costs = ladder(0.5)
    assert plan_comparison(replace(make_plan(facts(), costs), trials=1), costs) is None


def test_the_best_value_of_the_metric_decides_and_the_smaller_of_equals():
    results = [SizeResult(64, 0.7, 1.0), SizeResult(128, 0.75, 1.0), SizeResult(224, 0.75, 1.0)]
    assert choose_size(results, "accuracy") == 128
    assert choose_size(results, "val_loss") == 64


@pytest.fixture
def compared(image_tree, tmp_path):
    """Trains the recipe at 16 and 24 px on a few images; takes the planned seconds of an epoch."""
    config = SearchConfig(data=str(image_tree(train=12, val=4)), space="modern", cache_dir=tmp_path / "cache")
    photos = look_at_photos(config.data_config())

    def run(alone: float, **options) -> list[SizeResult]:
        costs = [size_cost(side, alone, alone, start=0.0) for side in (16, 24)]
        plan = make_plan(facts(), [size_cost(24)])
        planned = Planned(replace(plan, cores=1), photos, 2, Slots(1, 1, 0), 1, [])
        return compare_sizes(replace(config, **options), planned, Comparison(costs, 2, 10.0))

    return run


def test_the_recipe_is_trained_at_each_size(compared):
    threads = torch.get_num_threads()
    small, large = compared(60.0)
    assert (small.image_size, large.image_size) == (16, 24)
    assert 0 < small.value <= 1
    assert large.seconds > 0
    assert torch.get_num_threads() == threads
    (again, _) = compared(60.0)
    assert again.value == small.value


def test_a_size_that_takes_too_long_and_those_above_it_are_left_out(compared):
    assert compared(-1e6) == []


def test_the_value_is_that_of_the_users_metric(compared):
    assert compared(60.0, metric="val_loss")[0].value > 0.1


def test_results_are_said_with_the_choice_and_what_is_missing():
    comparison = Comparison([size_cost(64), size_cost(128)], 12, 90.0)
    assert describe_comparison(comparison) == "12 epochs of the recipe at each of 64 and 128 px (about 1 min 30 s)"
    results = [SizeResult(64, 0.6, 9.0), SizeResult(128, 0.8, 9.0)]
    assert describe_results(results, comparison, 128, "accuracy") == (
        "validation accuracy 0.6000 at 64 px, 0.8000 at 128 px; chosen: 128 px"
    )
    assert describe_results(results[:1], comparison, 64, "accuracy").endswith("128 px took too long; chosen: 64 px")
    assert "none was trained in time" in describe_results([], comparison, None, "accuracy")


def test_ctrl_c_in_a_training_is_raised_as_such(compared, monkeypatch):
    class Interrupts(size_comparison._Deadline):
        def on_train_epoch_end(self, trainer, pl_module):
            raise KeyboardInterrupt

    monkeypatch.setattr(size_comparison, "_Deadline", Interrupts)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible_training():
        compared(60.0)
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(SystemExit, match="3"), interruptible_training():
        raise SystemExit(3)
