import dataclasses
from pathlib import Path
from typing import Any

import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.resume import check_resumable
from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.tuning.space.presets import space_of


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_samples": 0}, "num_samples must be positive, got 0"),
        ({"max_epochs": 2, "grace_period": 3}, "grace_period 3 is above max_epochs 2"),
        ({"reduction_factor": 1}, "reduction_factor must be at least 2"),
        ({"control_fraction": 0.6}, "control_fraction must be from 0 to 0.5, got 0.6"),
        ({"control_fraction": -0.1}, "control_fraction must be from 0 to 0.5, got -0.1"),
        ({"gpus_per_trial": -0.5}, "gpus_per_trial must not be negative, got -0.5; pass 0 for the CPUs"),
        ({"gpus_per_trial": 1.5}, "gpus_per_trial must be at most 1, got 1.5: a trial trains on one GPU; pass 1"),
        ({"gpus_per_trial": 2.0}, "gpus_per_trial must be at most 1, got 2: a trial trains on one GPU; pass 1"),
        ({"gpus_per_trial": 0.0001}, "gpus_per_trial 0.0001 is too small a share"),
        ({"cpus_per_trial": 0.0}, "cpus_per_trial must be positive"),
        ({"cpus_per_trial": float("nan")}, "cpus_per_trial must be a finite number or None, got nan"),
        ({"max_concurrent": 0}, "max_concurrent must be positive"),
        ({"max_failures": -1}, "max_failures must not be negative"),
        ({"seed": -1}, "seed must not be negative"),
        ({"name": "a/b"}, "must be a plain folder name"),
        ({"name": " "}, "must be a plain folder name"),
        ({"name": ".."}, "must be a plain folder name"),
        ({"image_size": -4}, "image_size must be positive"),
        ({"data": "digits", "image_size": 20}, "multiple of 8, got 20"),
        ({"space": "huge"}, "unknown space 'huge'; choose from auto, full, small, modern, or name a Python file"),
        ({"time_budget": "soon"}, "time_budget must be a number and a unit such as 90s, 30m, 2h or 1d, got 'soon'"),
        ({"time_budget": "0h"}, "time_budget must be"),
        ({"trial_timeout": "10"}, "trial_timeout must be"),
        ({"target": 1.5}, "target must be above 0 and at most 1, got 1.5"),
    ],
)
def test_impossible_search_settings_are_refused(setting: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"metric": "f1"}, "unknown metric 'f1'; choose from accuracy, balanced_accuracy, macro_f1, val_loss, top2"),
        ({"class_weights": "even"}, "unknown class_weights 'even'; choose from none, balanced, effective"),
        ({"metric": "val_loss", "target": 0.0}, "target must be above 0 and at most 7, got 0.0"),
    ],
)
def test_impossible_objectives_are_refused(setting: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**setting)


def test_a_study_of_an_earlier_version_optimised_the_accuracy_and_may_have_a_target_accuracy():
    stored = SearchConfig(data="digits").to_json() | {"target_accuracy": 0.9}
    for later in ("metric", "target", "class_weights", "balanced_sampler"):
        del stored[later]
    config = SearchConfig.from_json(stored)
    assert (config.metric, config.target, config.class_weights, config.balanced_sampler) == (
        "accuracy", 0.9, "none", False,
    )  # fmt: skip


def test_a_resumed_search_keeps_its_metric_and_may_change_its_target():
    stored = SearchConfig(data="digits", metric="val_loss")
    check_resumable(stored, dataclasses.replace(stored, target=0.1))
    with pytest.raises(ConfigError, match="--metric macro_f1 differs from the study's val_loss"):
        check_resumable(stored, dataclasses.replace(stored, metric="macro_f1"))


def test_a_loss_may_have_a_target_above_1():
    assert SearchConfig(metric="val_loss", target=1.5).target == 1.5


def test_the_trials_get_the_options_about_rare_classes_only_if_they_are_given():
    assert not {"class_weights", "balanced_sampler"} & SearchConfig(data="digits").trial_settings().keys()
    given = SearchConfig(data="digits", class_weights="effective", balanced_sampler=True).trial_settings()
    assert (given["class_weights"], given["balanced_sampler"]) == ("effective", True)


def test_the_default_image_size_depends_on_the_data():
    assert SearchConfig().resolved_image_size == 224
    assert SearchConfig(data="digits").resolved_image_size == 32
    assert SearchConfig(data="digits", image_size=16).resolved_image_size == 16


def test_search_settings_round_trip_through_json():
    config = SearchConfig(data="digits", storage_path=Path("x"), resume=Path("x/y"), gpus_per_trial=0.5)
    assert SearchConfig.from_json(config.to_json()) == config


def test_settings_and_hyperparameters_together_make_a_trial_config(cnn_params):
    names = {"first_layer_filters", "filter_org", "conv_layers", "activation", "dropout", "batch_norm",
             "num_neurons_dense", "learning_rate", "batch_size", "use_augmentation"}  # fmt: skip
    settings = SearchConfig(data="digits", image_size=16).trial_settings()
    assert TrialConfig.from_params(settings | {name: cnn_params[name] for name in names}).max_epochs == 27


def test_resume_refuses_what_would_make_trials_incomparable():
    stored = SearchConfig(data="digits")
    check_resumable(stored, dataclasses.replace(stored, num_samples=500, cpus_per_trial=2))
    with pytest.raises(ConfigError, match=r"--max-epochs 9 differs from the study's 27"):
        check_resumable(stored, dataclasses.replace(stored, max_epochs=9))
    with pytest.raises(ConfigError, match="may only be raised"):
        check_resumable(stored, dataclasses.replace(stored, num_samples=10))


@pytest.mark.parametrize("kind", [SearchConfig, FinetuneConfig])
@pytest.mark.parametrize(
    ("given", "grace_period"),
    [({"max_epochs": 1}, 1), ({"max_epochs": 2}, 2), ({"max_epochs": 3}, 3), ({}, 3), ({"grace_period": 5}, 5)],
)
def test_a_default_grace_period_is_no_longer_than_a_trial(kind, given, grace_period):
    config = kind(**given)
    assert config.grace_period == grace_period
    assert type(config.grace_period) is int
    assert config.to_json()["grace_period"] == grace_period


def test_a_default_number_of_epochs_covers_the_grace_period():
    assert SearchConfig(grace_period=40).max_epochs == 40
    assert FinetuneConfig(grace_period=40).max_epochs == 40
    with pytest.raises(ConfigError, match="grace_period 40 is above max_epochs 27"):
        SearchConfig(grace_period=40, max_epochs=27)


def test_a_resumed_search_names_the_option_that_was_changed_and_not_the_default_it_contradicts():
    stored = SearchConfig(data="digits")
    changed = dataclasses.replace(stored, resume=Path("x"), max_epochs=1)
    with pytest.raises(ConfigError, match=r"^--max-epochs 1 differs from the study's 27; leave it out"):
        check_resumable(stored, changed)
    short = SearchConfig(data="digits", max_epochs=1)
    check_resumable(SearchConfig.from_json(short.to_json()), dataclasses.replace(short, num_samples=500))


OPTIONS_ALONE = [
    {"max_epochs": 1}, {"grace_period": 100}, {"patience": 100}, {"reduction_factor": 100}, {"num_samples": 1},
    {"searcher": "grid"}, {"searcher": "gp"}, {"searcher": "random"}, {"stopped_trials": "pruned"},
    {"image_size": 8}, {"image_size": 16}, {"image_size": 48}, {"image_size": 1000}, {"data": "digits"},
    {"data": "digits", "image_size": 8}, {"keep_checkpoints": 1}, {"max_concurrent": 1}, {"max_concurrent": 500},
    {"cpus_per_trial": 0.5}, {"gpus_per_trial": 0.0}, {"gpus_per_trial": 0.25}, {"gpus_per_trial": 1.0},
    {"max_failures": 0}, {"seed": 5}, {"max_bad_fraction": 0.0}, {"trial_timeout": "1s"}, {"time_budget": "1s"},
    {"target": 1.0},
]  # fmt: skip


@pytest.mark.parametrize("kind", [SearchConfig, FinetuneConfig])
@pytest.mark.parametrize("given", OPTIONS_ALONE, ids=str)
def test_no_default_refuses_an_option_that_is_set_alone(kind, given):
    config = kind(**given)
    space_of(config)
    assert {name: getattr(config, name) for name in given} == given
    assert kind.from_json(config.to_json()) == config


def test_a_study_that_reserved_two_gpus_for_a_trial_goes_on_with_the_one_that_it_used():
    stored = SearchConfig(data="digits").to_json() | {"gpus_per_trial": 2.0}
    assert SearchConfig.from_json(stored).gpus_per_trial == 1.0


@pytest.mark.parametrize(
    ("options", "fraction"),
    [
        ({}, 0.05), ({"num_samples": 200}, 0.05), ({"num_samples": 199}, 0.0), ({"searcher": "grid"}, 0.0),
        ({"num_samples": 8, "control_fraction": 0.2}, 0.2), ({"control_fraction": 0.0}, 0.0),
    ],
)  # fmt: skip
def test_a_search_too_small_for_ten_controls_has_none_unless_they_are_asked_for(options, fraction):
    assert SearchConfig(**options).control_fraction == fraction


def test_a_study_of_an_earlier_version_goes_on_without_controls():
    assert SearchConfig.from_json({"num_samples": 480}).control_fraction == 0.0


def test_a_cheaper_trial_is_preferred_within_noise_that_is_known_or_a_distance():
    assert SearchConfig().prefer_cheaper == "off"
    assert SearchConfig(prefer_cheaper="noise", metric="top2").prefer_cheaper == "noise"
    assert SearchConfig(prefer_cheaper="noise", metric="macro_f1", folds=3).prefer_cheaper == "noise"
    assert SearchConfig(prefer_cheaper=0.01, metric="val_loss").prefer_cheaper == 0.01
    with pytest.raises(ConfigError, match="prefer_cheaper noise has no standard error for the metric macro_f1"):
        SearchConfig(prefer_cheaper="noise", metric="macro_f1")
    with pytest.raises(ConfigError, match="prefer_cheaper must not be negative, got -0.1"):
        SearchConfig(prefer_cheaper=-0.1)


def test_preferences_and_costs_may_change_when_a_search_is_resumed():
    stored = SearchConfig(data="digits")
    check_resumable(stored, dataclasses.replace(stored, prefer_cheaper="noise", cost="epoch-seconds"))
