import dataclasses
from pathlib import Path

import pytest

from inat.cli import parse_search
from inat.config.finetune import FinetuneConfig
from inat.config.resume import check_resumable
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.tuning.space.grid import grid_of
from inat.tuning.space.presets import space_of


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"backbones": ("resnet",)}, "unknown backbone 'resnet'; choose from googlenet"),
        ({"backbones": ()}, "backbones has no value"),
        ({"strategies": ("freeze",)}, "unknown strategy 'freeze'; choose from freeze_all"),
        ({"k_layers": (0,)}, "k_layers must be in 1..19 for freeze_partial of mobilenet_v2, got 0"),
        ({"k_layers": ()}, "k_layers has no value, and freeze_partial needs one"),
        ({"learning_rates": (1e-3, -1.0)}, "learning_rates must be positive, got -1.0"),
        ({"batch_sizes": (0,)}, "batch_sizes must be positive, got 0"),
        ({"weights": "mine"}, "unknown weights 'mine'"),
        ({"views": -1}, "views must not be negative"),
        ({"max_feature_gb": float("nan")}, "^max_feature_gb must be a finite number, got nan$"),
        ({"body_lr_factor": 0.0}, "body_lr_factor must be positive"),
        ({"space": "small"}, "unknown space 'small'; choose from auto, finetune"),
        ({"max_epochs": 0}, "max_epochs must be positive"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        FinetuneConfig(**setting)


def test_one_error_lists_all_mistakes():
    with pytest.raises(ConfigError) as raised:
        FinetuneConfig(backbones=("resnet",), views=-1, patience=0)
    assert str(raised.value).count(";") >= 3
    assert all(word in str(raised.value) for word in ("resnet", "views", "patience"))


def test_each_mistake_keeps_its_own_hint():
    with pytest.raises(ConfigError) as raised:
        FinetuneConfig(strategies=("half", "third"), max_epochs=2, grace_period=3, patience=0)
    known = "choose from freeze_all, freeze_partial, unfreeze_all, lp_ft, lora, bitfit, norm_only"
    assert raised.value.problems == (
        f"unknown strategy 'half'; {known}",
        f"unknown strategy 'third'; {known}",
        "patience must be positive, got 0",
        "grace_period 3 is above max_epochs 2; lower --grace-period too",
    )


def test_settings_round_trip_through_json():
    config = FinetuneConfig(
        backbones=("vgg16", "mobilenet_v2"), k_layers=(2,), weights_dir=Path("/weights"), image_size=96
    )
    assert FinetuneConfig.from_json(config.to_json()) == config


def test_each_backbone_has_the_image_size_of_its_weights_unless_the_option_is_given():
    settings = FinetuneConfig(data="photos").trial_settings()
    params = {"strategy": "freeze_all", "use_augmentation": False, "learning_rate": 1e-3, "batch_size": 32}
    sides = {b: TrialConfig.from_params({**settings, **params, "backbone": b}).data.image_size
             for b in ("inception_v3", "efficientnet_v2_s", "resnet50")}  # fmt: skip
    assert sides == {"inception_v3": 299, "efficientnet_v2_s": 384, "resnet50": 224}
    small = FinetuneConfig(data="photos", image_size=96).trial_settings()
    assert TrialConfig.from_params({**small, **params, "backbone": "inception_v3"}).data.image_size == 96


def test_a_search_without_a_grid_has_a_default_number_of_trials():
    assert FinetuneConfig().num_samples == 40
    assert FinetuneConfig(searcher="grid").num_samples is None
    assert FinetuneConfig(recipe="published").num_samples == 60
    assert FinetuneConfig(grid="published").num_samples is None


def test_the_published_grid_is_that_of_earlier_versions():
    config = FinetuneConfig(grid="published")
    earlier = {"backbones": ("googlenet", "inception_v3", "resnet50", "vgg16", "efficientnet_v2_s", "vit_b_16"),
               "strategies": ("freeze_all", "freeze_partial", "unfreeze_all"), "searcher": "grid",
               "body_lr_factor": 0.1}  # fmt: skip
    assert {name: getattr(config, name) for name in earlier} == earlier
    grid = grid_of(space_of(config))
    assert len(grid) == 600
    names = ("backbone", "strategy", "k_layers", "use_augmentation", "batch_size", "learning_rate")
    assert grid[0] == dict(zip(names, ("googlenet", "freeze_all", 1, False, 32, 1e-4), strict=True))
    assert config.trial_settings()["body_lr_rule"] == "unfreeze_all"


def test_a_study_of_an_earlier_version_keeps_its_space_and_its_rates():
    stored = FinetuneConfig(grid="published", searcher="grid").to_json() | {"augmentation": "both"}
    del stored["recipe"], stored["grid"]
    config = FinetuneConfig.from_json(stored)
    assert len(grid_of(space_of(config))) == 600
    assert config.trial_settings()["body_lr_rule"] == "unfreeze_all"
    tpe = FinetuneConfig.from_json(stored | {"searcher": "tpe", "num_samples": 60})
    assert set(space_of(tpe)) == {"backbone", "strategy", "k_layers", "use_augmentation", "batch_size", "learning_rate"}
    assert dataclasses.replace(config) == config


def test_options_that_were_set_change_the_published_grid():
    config = FinetuneConfig(grid="published", backbones=("vgg16",), strategies=("lora",), body_lr_factor=0.5)
    assert (config.backbones, config.strategies, config.body_lr_factor) == (("vgg16",), ("lora",), 0.5)
    with pytest.raises(ConfigError, match="grid published leaves no choice to a sampler; leave out --grid"):
        FinetuneConfig(grid="published", searcher="gp")


def test_the_factor_of_the_body_is_searched_unless_it_is_given(tmp_path):
    assert "body_lr_factor" in space_of(FinetuneConfig())
    given = FinetuneConfig(body_lr_factor=0.3)
    assert "body_lr_factor" not in space_of(given)
    assert given.trial_settings()["body_lr_factor"] == 0.3
    (tmp_path / "space.py").write_text(
        "def space():\n    return {'backbone': 'vgg16', 'strategy': 'freeze_all', 'use_augmentation': False,\n"
        "            'batch_size': 32, 'learning_rate': 1e-3, 'body_lr_factor': 0.5}\n"
    )
    own = FinetuneConfig(space=str(tmp_path / "space.py"))
    assert "body_lr_factor" in space_of(own)
    with pytest.raises(ConfigError, match="body_lr_factor is set by the search and cannot be a hyperparameter too"):
        space_of(dataclasses.replace(own, body_lr_factor=0.3))


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({}, set()),
        ({"image_size": 64}, {"inception_v3"}),
        ({"image_size": 100}, {"vit_b_16"}),
        ({"k_layers": (9,)}, {"resnet50", "vgg16", "efficientnet_v2_s"}),
        ({"k_layers": (9,), "strategies": ("freeze_all",)}, set()),
        ({"data": "digits"}, {"inception_v3"}),
    ],
)
def test_default_backbones_give_way_to_the_options_that_were_set(given, left_out):
    given = {"recipe": "published"} | given
    assert set(FinetuneConfig(recipe="published").backbones) - set(FinetuneConfig(**given).backbones) == left_out
    assert set(parse_search(FinetuneConfig, "", as_arguments(given)).backbones) == set(
        FinetuneConfig(**given).backbones
    )


def as_arguments(given):
    words = []
    for name, value in given.items():
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def test_backbones_that_were_named_are_not_left_out():
    with pytest.raises(ConfigError, match=r"k_layers must be in 1..5 for freeze_partial of resnet50, got 9"):
        FinetuneConfig(backbones=("resnet50", "mobilenet_v2"), k_layers=(9,))
    with pytest.raises(ConfigError, match=r"k_layers must be in 1..13 for freeze_partial of vit_b_16, got 99"):
        FinetuneConfig(recipe="published", k_layers=(99,))  # none of the defaults has so many stages


@pytest.mark.parametrize("given", [
    {"weights": "none"}, {"views": 0}, {"augmentation": "off"}, {"augmentation": "on"}, {"max_feature_gb": 0.0},
    {"strategies": ("freeze_all",)}, {"strategies": ("unfreeze_all",)}, {"k_layers": (4, 5)}, {"body_lr_factor": 1.0},
    {"learning_rates": (0.1,)}, {"batch_sizes": (1,)}, {"backbones": ("mobilenet_v2",)}, {"searcher": "tpe"},
    {"searcher": "grid"}, {"searcher": "gp"}, {"recipe": "published"}, {"augmentation": "trivial"},
    {"augmentation": "randaugment", "searcher": "grid"}, {"strategies": ("lora", "bitfit", "norm_only", "lp_ft")},
], ids=str)  # fmt: skip
def test_no_default_refuses_an_option_of_fine_tuning_that_is_set_alone(given):
    config = FinetuneConfig(**given)
    space_of(config)
    assert {name: getattr(config, name) for name in given} == given


def test_resume_allows_other_weights_folders_but_no_other_grid():
    stored = FinetuneConfig(backbones=("vgg16",), searcher="grid")
    check_resumable(stored, dataclasses.replace(stored, weights_dir=Path("/elsewhere"), num_samples=None))
    with pytest.raises(ConfigError, match="--backbones .* differs from the study's"):
        check_resumable(stored, dataclasses.replace(stored, backbones=("resnet50",)))
    with pytest.raises(ConfigError, match="--num-samples 5 is below the study's None"):
        check_resumable(stored, dataclasses.replace(stored, num_samples=5))


def test_a_study_of_an_earlier_version_squashed_its_photos():
    stored = FinetuneConfig(data="photos").to_json()
    assert FinetuneConfig.from_json(stored).resize == "crop"
    del stored["resize"]
    assert FinetuneConfig.from_json(stored).resize == "squash"


def test_the_published_recipe_squashes_photos_unless_the_user_says_otherwise():
    assert FinetuneConfig(grid="published").resize == FinetuneConfig(recipe="published").resize == "squash"
    assert FinetuneConfig(grid="published", resize="crop").resize == "crop"
    assert FinetuneConfig(resize="squash").resize == "squash"


def test_a_preset_fills_in_only_what_nobody_chose():
    preset = FinetuneConfig(preset="fast")
    assert (preset.searcher, preset.time_budget, preset.num_samples, preset.max_epochs) == ("auto", "10m", 20, 10)
    assert preset.backbones[0] == "mobilenet_v2"
    own = FinetuneConfig(
        preset="fast", searcher="gp", time_budget="2h", num_samples=7, max_epochs=4, backbones=("resnet50",)
    )
    assert (own.searcher, own.time_budget, own.num_samples, own.max_epochs) == ("gp", "2h", 7, 4)
    assert own.backbones == ("resnet50",)
    assert FinetuneConfig(preset="fast", grace_period=40).max_epochs == 40
    assert FinetuneConfig.from_json(preset.to_json()) == preset


def test_without_a_preset_there_is_no_time_budget():
    plain = FinetuneConfig()
    assert (plain.searcher, plain.time_budget, plain.num_samples) == ("auto", None, 40)


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"preset": "quick"}, "unknown preset 'quick'; choose from fast, good, best"),
     ({"preset": "good", "space": "mine.py"}, "preset good makes its own space; leave out --space or --preset"),
     ({"preset": "good", "model": "net.py"}, "preset good races pretrained backbones; leave out --model or --preset"),
     ({"preset": "good", "grid": "published"}, "preset good makes its own space; leave out --grid or --preset"),
     ({"preset": "fast", "strategies": ("freeze_all", "lora")},
      "preset fast tries lora only after unfreeze_all; add that to --strategies, or leave out --preset")],
)  # fmt: skip
def test_impossible_presets_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        FinetuneConfig(**setting)


def test_a_network_of_the_user_may_have_the_published_recipe(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("def build(num_classes, image_size): ...")
    config = FinetuneConfig(model=str(file), recipe="published")
    assert (config.recipe, config.resize, config.body_lr_factor) == ("published", "squash", 0.1)
