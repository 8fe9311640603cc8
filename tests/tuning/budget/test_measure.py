import time
from dataclasses import replace

import pytest
import torch

from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.training import precision_choice
from inat.tuning.budget import begin as begin_module
from inat.tuning.budget import measure as module
from inat.tuning.budget.begin import begin, planned_config
from inat.tuning.budget.costs import ImageCounts
from inat.tuning.budget.measure import Begun, plan_here
from inat.tuning.budget.photos import Missing, Photos, look_at_photos
from inat.tuning.budget.plan import TimePlan
from inat.tuning.budget.size_comparison import SizeResult
from inat.tuning.budget.wording import describe_plan
from inat.tuning.network_timing import NetworkSpeed, size_of
from inat.tuning.ray_backend.slots import Slots

FILES = (object(),)  # stands for the files of a folder
CONFIG = SearchConfig(data="photos", space="modern")


@pytest.fixture
def timed(monkeypatch):
    """A machine of two cores, on which a network does 1e11 operations a second on each; and what was timed."""
    sides: list[tuple[int, int]] = []

    def measure_speeds(configs, num_classes, seconds):
        (config,) = configs
        threads = torch.get_num_threads()
        sides.append((config.data.image_size, threads))
        image = 3 * size_of(config, num_classes).operations / 1e11 / threads**0.8
        return [NetworkSpeed(image, image / 3, 0.5)]

    monkeypatch.setattr(module, "measure_speeds", measure_speeds)
    monkeypatch.setattr(module, "settle_precision", lambda trial, record, num_classes: trial)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr(module, "slots_here", lambda config: Slots(config.max_concurrent or 2, 1, 0))
    monkeypatch.setattr(Photos, "missing", lambda self, config: Missing(10_000, 10_000 * config.image_size**2))
    return sides


def begun(seconds: float, loading: float = 4.0) -> Begun:
    return Begun(seconds, time.monotonic() - loading, loading)


def photos(images: int = 6000, side: int = 300) -> Photos:
    return Photos(ImageCounts(train=images, val=images // 4, test=images // 4), side, 0.001, FILES)


def test_the_recipe_is_timed_first_at_one_size_and_then_at_the_chosen_one(timed):
    threads = torch.get_num_threads()
    planned = plan_here(CONFIG, photos(), 10, begun(20_000.0))
    assert planned.plan.image_size > 64
    assert [side for side, _ in timed] == [64, 64, planned.measured[1].image_size, planned.measured[1].image_size]
    assert [used for _, used in timed] == [1, 2, 1, 2]
    assert torch.get_num_threads() == threads
    assert planned.plan.total <= 20_000


def test_a_given_size_and_small_photos_limit_what_is_timed(timed):
    assert plan_here(replace(CONFIG, image_size=48), photos(), 10, begun(1800.0)).plan.image_size == 48
    assert {side for side, _ in timed} == {48}
    timed.clear()
    assert plan_here(CONFIG, photos(side=32), 10, begun(1800.0)).plan.image_size == 32
    assert {side for side, _ in timed} == {32}


def test_the_plan_is_said_in_five_lines(timed):
    text = describe_plan(plan_here(replace(CONFIG, image_size=32), photos(), 10, begun(1800.0)))
    assert [line[:8].rstrip() for line in text.splitlines()] == ["plan", "search", "last", "time", "timed"]
    assert "30 min 0 s for about 6,000 training photos: 32 x 32 px, " in text
    assert "from photos whose shorter side has typically 300 px" in text
    assert "2 at a time, the recipe first; each trains as long as " in text
    assert " of the recipe (" in text
    assert "with all 2 cores" in text
    assert "photos a second on 1 core, " in text
    short = describe_plan(plan_here(replace(CONFIG, image_size=32), photos(), 10, begun(70.0)))
    assert "search  none: fewer than 4 trials fit beside the last training" in short
    assert "last    the recipe for " in short


def test_what_the_plan_chooses_and_what_the_user_has_chosen(timed):
    planned = plan_here(CONFIG, photos(), 10, begun(1800.0))
    config, plan = planned_config(CONFIG, planned), planned.plan
    assert (config.image_size, config.num_samples) == (plan.image_size, plan.trials)
    assert (config.max_epochs, config.grace_period, config.patience) == (
        plan.max_epochs,
        plan.grace_period,
        plan.max_epochs,
    )
    assert config.cpus_per_trial is None
    assert planned_config(replace(CONFIG, patience=2), planned).patience == 2
    alone = planned_config(replace(CONFIG, gpus_per_trial=0), replace(planned, plan=replace(plan, trials=1)))
    assert (alone.cpus_per_trial, alone.max_concurrent) == (2.0, 1)


def test_digits_are_planned_at_the_size_of_their_default(timed):
    lines: list[str] = []
    config = SearchConfig(data="digits", time_budget="10m")
    planned = begin(config, time.monotonic(), lines.append)
    assert planned.config.image_size == 32
    assert planned.config.space == "modern"
    assert planned.time_plan["trials"] == planned.config.num_samples > 1
    assert [line.split()[0] for line in lines] == ["timing", "plan"]
    with pytest.raises(ConfigError, match="time_budget 20 s is too short"):
        begin(replace(config, time_budget="20s"), time.monotonic(), lines.append)


@pytest.fixture
def large_photos(timed, image_tree, monkeypatch):
    """A search of photos for which there is time at 224 px; the options, what was printed, and the results to have."""
    config = SearchConfig(data=str(image_tree(train=12, val=4)), time_budget="60m")
    monkeypatch.setattr(begin_module, "look_at_photos", lambda data: photos(images=500))
    results = [SizeResult(side, 0.5, 3.0) for side in (48, 96, 224)]
    monkeypatch.setattr(begin_module, "compare_sizes", lambda config, planned, comparison: results)
    return config, [], results


def test_image_sizes_are_compared_before_the_plan_is_made(large_photos):
    config, lines, _ = large_photos
    begun = begin(config, time.monotonic(), lines.append)
    assert begun.config.image_size == begun.time_plan["image_size"] == 48
    assert [size["image_size"] for size in begun.time_plan["compared_sizes"]] == [48, 96, 224]
    assert [line.split()[0] for line in lines] == ["timing", "sizes", "sizes", "timing", "plan"]
    assert "at each of 48, 96 and 224 px" in lines[1]
    assert "chosen: 48 px" in lines[2]
    TimePlan.from_json(begun.time_plan, "study")


def test_if_no_size_was_trained_in_time_the_plan_keeps_the_largest(large_photos):
    config, lines, results = large_photos
    results.clear()
    begun = begin(config, time.monotonic(), lines.append)
    assert begun.config.image_size == 224
    assert "compared_sizes" not in begun.time_plan


def test_a_preview_trains_nothing_and_plans_for_the_time_that_the_comparison_leaves(large_photos, monkeypatch):
    config, lines, _ = large_photos
    monkeypatch.setattr(begin_module, "compare_sizes", None)
    begun = begin(config, time.monotonic(), lines.append, preview=True)
    assert begun.time_plan["image_size"] == 224
    assert "come first; this plan is for the largest" in lines[1]
    alone = begin(replace(config, image_size=224), time.monotonic(), lines.append)
    assert begun.time_plan["start_seconds"] > alone.time_plan["start_seconds"] + 60


def test_the_reduction_factor_of_the_user_is_planned_with(timed):
    planned = plan_here(replace(CONFIG, reduction_factor=2, image_size=32), photos(), 10, begun(1800.0))
    assert planned.plan.reduction_factor == 2


def test_sizes_that_the_disk_has_no_room_for_are_not_chosen(timed, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda folder: 10_000 * 100**2)
    planned = plan_here(CONFIG, photos(), 10, begun(20_000.0))
    assert planned.plan.image_size == 64  # the next one is 96 px, of which 0.9 of the disk are too few
    assert "typically 300 px; the disk of the cache has no room for larger ones" in describe_plan(planned)
    monkeypatch.setattr(module, "free_bytes", lambda folder: 0)
    assert plan_here(CONFIG, photos(), 10, begun(20_000.0)).plan.image_size == 32
    monkeypatch.setattr(module, "free_bytes", lambda folder: 10**12)
    assert "no room" not in describe_plan(plan_here(CONFIG, photos(), 10, begun(20_000.0)))


def test_the_slots_are_those_of_the_size_that_is_planned(timed, monkeypatch):
    asked: list[int | None] = []
    monkeypatch.setattr(module, "slots_here", lambda config: asked.append(config.image_size) or Slots(2, 1, 0))
    planned = plan_here(CONFIG, photos(), 10, begun(20_000.0))
    assert asked == [64, planned.measured[1].image_size]


def test_the_last_training_keeps_to_the_cores_of_the_user(timed, monkeypatch):
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    config = replace(CONFIG, image_size=32)
    assert plan_here(config, photos(), 10, begun(1800.0)).plan.cores == 4
    timed.clear()
    planned = plan_here(replace(config, cpus_per_trial=1, max_concurrent=3), photos(), 10, begun(1800.0))
    assert planned.plan.cores == 3
    assert [threads for _, threads in timed] == [1, 3]
    assert "with 3 cores, as --cpus-per-trial says" in describe_plan(planned)


def test_planning_decodes_no_photos(image_tree, tmp_path, monkeypatch):
    config = SearchConfig(
        data=str(image_tree(train=10)), space="modern", image_size=20, cache_dir=tmp_path / "cache", precision="auto"
    )
    monkeypatch.setattr(module, "measure_speeds", lambda *_: [NetworkSpeed(1e-4, 1e-4, 0.1)])
    monkeypatch.setattr(precision_choice, "measure_ratio", lambda config, classes: 1.0)
    monkeypatch.setattr(precision_choice, "load_splits", None)
    monkeypatch.setattr(precision_choice, "resolve_precision", lambda precision: "bf16-mixed")
    monkeypatch.delenv(precision_choice.SWITCH, raising=False)
    plan_here(config, look_at_photos(config.data_config()), 2, begun(1800.0))
    assert not list((tmp_path / "cache").glob("*px"))
