import sys
from dataclasses import replace

import numpy as np
import pytest
from ray import tune

from inat import tune_finetune
from inat.config.finetune import FinetuneConfig
from inat.data.splits import Split, Splits
from inat.tuning import cost_estimate, search
from inat.tuning.backbone_timing import NetworkCost, StageCost
from inat.tuning.kept_features import altering_share, describe_altering
from inat.tuning.progress import progress_of
from inat.tuning.space.grid import grid_of
from inat.tuning.task import check_task
from inat.tuning.trial_cost import ImageCounts, TrialCost, fitting_cost, trial_cost


@pytest.fixture
def measured(monkeypatch):
    from inat.models.backbones import stage_names

    asked = []

    def measure_backbone(backbone, size, num_classes, config):
        asked.append((backbone, size))
        return NetworkCost([StageCost(1.0, 1000, 10)] * len(stage_names(backbone)), step_factor=3.0)

    monkeypatch.setattr(cost_estimate, "measure_backbone", measure_backbone)
    return asked


def rows_of(config: FinetuneConfig) -> list[cost_estimate.PlanRow]:
    task = check_task(config)
    rows = np.arange(100)
    part = Split(np.zeros((100, 1, 1, 3), np.uint8), rows % 10, rows)
    splits = Splits(tuple("abcdefghij"), replace(part, rows=rows[:80]), replace(part, rows=rows[80:]), part)
    return cost_estimate.make_plan(config, task, splits, progress_of(task))


def test_the_rows_hold_every_trial_of_the_grid_and_each_backbone_is_measured_once(measured):
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2", "vgg16"), k_layers=(1, 2), image_size=64,
                            grid="published")  # fmt: skip
    rows = rows_of(config)
    assert measured == [("mobilenet_v2", 64), ("vgg16", 64)]
    assert len(rows) == 2 * 4
    assert {row.trials for row in rows} == {5 * 2 * 2}


def test_features_with_and_without_augmentation_are_both_counted(measured):
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), strategies=("freeze_all",), image_size=64,
                            grid="published")  # fmt: skip
    (row,) = rows_of(config)
    assert row.feature_bytes == ((1 + 4) * 80 + 2 * 20) * 1000
    assert row.trial_seconds_without_features > row.trial_seconds
    (row,) = rows_of(FinetuneConfig(data="digits", backbones=("mobilenet_v2",), strategies=("freeze_all",), views=0,
                                    image_size=64, grid="published"))  # fmt: skip
    assert (row.feature_bytes, row.trial_seconds) == (0, row.trial_seconds_without_features)


def test_a_cut_grid_and_a_sampler_have_num_samples_trials(measured):
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), num_samples=30, image_size=64,
                            grid="published")  # fmt: skip
    assert sum(row.trials for row in rows_of(config)) == 30
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), searcher="tpe", num_samples=50, image_size=64,
                            recipe="published")  # fmt: skip
    rows = rows_of(config)
    assert sum(row.trials for row in rows) == pytest.approx(50)
    # A sampler draws the strategy independently of k_layers: unfreeze_all as often as all freeze_partial together.
    assert [row.trials for row in rows] == pytest.approx([50 / 3, 50 / 9, 50 / 9, 50 / 9, 50 / 3])


@pytest.mark.parametrize("searcher", ["grid", "random"])
def test_a_resumed_plan_has_the_trials_that_are_left(measured, tmp_path, searcher):
    options = {"data": "digits", "backbones": ("mobilenet_v2",), "strategies": ("freeze_all", "unfreeze_all"),
               "image_size": 64, "augmentation": "off", "weights": "none", "searcher": searcher,
               "num_samples": 10, "recipe": "published"}  # fmt: skip
    study, space = search.open_study(FinetuneConfig(**options, storage_path=tmp_path, name="study"))
    grid = grid_of(space) if searcher == "grid" else [{"strategy": "freeze_all", "x": x} for x in range(4)]
    tried = [params for params in grid if params["strategy"] == "freeze_all"][:3]
    for params in tried:
        study.end_trial(study.add_trial(params).trial_id, "completed")
    study.close()
    rows = rows_of(FinetuneConfig(**options, resume=study.directory))
    assert sum(row.trials for row in rows) == pytest.approx(7)
    untried = [params["strategy"] for params in grid if params not in tried][:7]
    for row in rows:
        wanted = untried.count(row.params["strategy"]) if searcher == "grid" else 3.5
        assert row.trials == pytest.approx(wanted)


def test_a_row_has_the_parameters_that_its_strategy_trains(measured):
    options = {"data": "digits", "backbones": ("mobilenet_v2",), "image_size": 64, "k_layers": (1,)}
    rows = rows_of(FinetuneConfig(**options, strategies=("freeze_all", "freeze_partial", "lora", "bitfit")))
    trained = {row.params["strategy"]: row.costs[0].trainable for row in rows}
    head = 1281 * 10
    assert trained["freeze_all"] == head
    assert trained["freeze_partial"] == head + 412_160
    assert head < trained["bitfit"] < trained["lora"] < trained["freeze_partial"]
    text = "\n".join(str(cell) for column in cost_estimate.plan_table(rows).columns for cell in column.cells)
    assert "12.8 k" in text
    assert "425.0 k" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.34, "2.3 s"), (18, "18 s"), (307, "5 min 7 s"), (7389, "2 h 3 min"), (76 * 3600 + 300, "76 h 5 min")],
)
def test_durations_are_written_for_people(seconds, text):
    assert cost_estimate.format_seconds(seconds) == text


def test_plan_prints_the_plan_and_runs_nothing(tmp_path, monkeypatch, capsys):
    options = ["--data", "digits", "--backbones", "mobilenet_v2", "--image-size", "32", "--plan",
               "--grid", "published"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["tune_finetune.py", *options])
    monkeypatch.chdir(tmp_path)
    tune_finetune.main()
    printed = capsys.readouterr().out
    assert "100 trials" in printed
    assert "freeze_partial k=3" in printed
    assert "about" in printed
    assert " trained " in printed
    assert max(len(line) for line in printed.splitlines() if "freeze" in line) <= 80
    assert not list(tmp_path.iterdir())


# The last stage is the head.
NETWORK = NetworkCost([StageCost(1.0, 100, 10), StageCost(2.0, 50, 20), StageCost(0.5, 8, 30)], step_factor=4.0)
IMAGES = ImageCounts(train=80, val=20)


def test_frozen_stages_run_once_per_view_and_the_other_stages_in_every_epoch():
    cost = trial_cost(NETWORK, 2, IMAGES, epochs=10, views=4, max_feature_bytes=1e9)
    forward_passes = 4 * 80 + 20
    assert cost == TrialCost(
        trainable=30,
        feature_bytes=forward_passes * 50,
        feature_seconds=forward_passes * 3.0,
        seconds=10 * (4 * 80 + 20) * 0.5,
        seconds_without_features=10 * (4 * 80 + 20) * 0.5 + 10 * 100 * 3.0,
    )


@pytest.mark.parametrize(("frozen", "views", "limit"), [(0, 4, 1e9), (2, 0, 1e9), (2, 4, 1000.0)])
def test_a_trial_without_stored_features_runs_all_stages_in_every_epoch(frozen, views, limit):
    cost = trial_cost(NETWORK, frozen, IMAGES, epochs=10, views=views, max_feature_bytes=limit)
    assert (cost.feature_bytes, cost.feature_seconds) == (0, 0.0)
    assert cost.seconds == cost.seconds_without_features > 0


def test_training_the_whole_network_costs_a_full_step_for_all_stages():
    assert trial_cost(NETWORK, 0, IMAGES, epochs=1, views=4, max_feature_bytes=1e9).seconds == (4 * 80 + 20) * 3.5


def test_folds_multiply_the_training_and_share_the_features(measured):
    options = {"data": "digits", "backbones": ("mobilenet_v2",), "strategies": ("freeze_all",), "image_size": 64}
    (once,) = rows_of(FinetuneConfig(**options, augmentation="off"))
    (folded,) = rows_of(FinetuneConfig(**options, augmentation="off", folds=5, repeats=2))
    assert folded.trial_seconds == pytest.approx(10 * once.trial_seconds)  # a fifth validates here, too
    assert folded.feature_bytes == once.feature_bytes == 100 * 1000
    (augmented,) = rows_of(FinetuneConfig(**options, augmentation="on", folds=5))
    assert augmented.feature_bytes == (4 + 1) * 100 * 1000


@pytest.mark.parametrize(
    ("limit", "form", "share"),
    [(1e9, "", 1), (10_000, "16 bit", 1), (5_000, "2 views of 4, 16 bit", 1), (100, "", 0)],
)
def test_features_are_planned_in_the_form_that_fits(limit, form, share):
    cost = fitting_cost(NETWORK, 2, IMAGES, 10, 4, limit)
    assert cost.form == form
    assert (cost.feature_bytes > 0) == bool(share)
    assert cost.feature_bytes <= limit


def test_trials_that_alter_images_are_planned_without_features():
    kept, half, none = (fitting_cost(NETWORK, 2, IMAGES, 10, 4, 1e9, altering=share) for share in (0, 0.5, 1))
    assert half.seconds == pytest.approx((kept.seconds + none.seconds) / 2)
    assert none.seconds == kept.seconds_without_features
    assert (none.feature_bytes, half.feature_bytes) == (0, kept.feature_bytes)


def test_the_plan_takes_the_arithmetic_that_trials_choose():
    slower = replace(NETWORK, stages=[replace(stage, seconds=2 * stage.seconds) for stage in NETWORK.stages])
    faster = replace(NETWORK, stages=[replace(stage, seconds=stage.seconds / 2) for stage in NETWORK.stages])
    plain = fitting_cost(NETWORK, 0, IMAGES, 1, 4, 1e9)
    assert fitting_cost(replace(NETWORK, lower=slower), 0, IMAGES, 1, 4, 1e9) == plain
    assert fitting_cost(replace(NETWORK, lower=faster), 0, IMAGES, 1, 4, 1e9).seconds == plain.seconds / 2


def test_spaces_that_alter_images_are_known_before_the_search():
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), image_size=64)
    space = {"strategy": tune.choice(["freeze_all", "freeze_partial", "unfreeze_all"])}
    assert describe_altering(config, space) == ""
    space |= {"mixup_alpha": tune.choice([0.0, 0.2]), "random_erasing": tune.uniform(0, 0.3)}
    assert altering_share(config, space, "freeze_all") == 1
    del space["random_erasing"]
    assert altering_share(config, space, "freeze_all") == 0  # features are mixed
    assert altering_share(config, space, "freeze_partial") == 0.5
    assert describe_altering(config, space) == (
        "slow    mixup alters photos, so these trials train through the frozen stages in every epoch: "
        "freeze_partial (50% of the trials)"
    )
