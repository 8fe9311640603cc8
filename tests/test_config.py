import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config import (
    CHANGEABLE,
    CNNConfig,
    DataConfig,
    OptimConfig,
    SearchConfig,
    TrialConfig,
    check_resumable,
)
from inat.errors import ConfigError


def test_flat_params_round_trip(cnn_params):
    config = TrialConfig.from_params(cnn_params)
    assert config.model.conv_layers == 2
    assert config.optim.learning_rate == 1e-3
    assert TrialConfig.from_params(config.to_params()) == config


def test_field_names_are_unique_so_that_a_flat_dict_is_unambiguous():
    names = [f.name for part in (DataConfig, CNNConfig, OptimConfig, TrialConfig) for f in dataclasses.fields(part)]
    names.remove("data")  # the nested part and its own source field; from_params reads the latter
    assert len(names) == len(set(names))


def test_every_mistake_is_in_one_error(cnn_params):
    wrong = cnn_params | {"learning_rate": -1, "activation": "tanh", "dropout": 1.5, "image_size": 0}
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(wrong)
    for part in ("learning_rate must be positive, got -1", "'tanh'", "relu, gelu, silu, mish", "dropout", "image_size"):
        assert part in str(caught.value)


def test_unknown_hyperparameter_names_the_closest(cnn_params):
    with pytest.raises(ConfigError, match="unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'"):
        TrialConfig.from_params(cnn_params | {"learning_rat": 1})


def test_missing_hyperparameter_is_named(cnn_params):
    del cnn_params["dropout"]
    with pytest.raises(ConfigError, match="dropout is missing"):
        TrialConfig.from_params(cnn_params)


def test_more_pools_than_pixels_is_refused_with_the_numbers(cnn_params):
    with pytest.raises(ConfigError, match=r"conv_layers=5 .* at least 32 px, but image_size is 16"):
        TrialConfig.from_params(cnn_params | {"conv_layers": 5})


@given(first=st.sampled_from([8, 32, 64, 128]), org=st.sampled_from([0.5, 1, 2]), layers=st.integers(1, 12))
def test_filters_follow_the_rule_and_never_vanish(first: int, org: float, layers: int):
    config = CNNConfig(
        first_layer_filters=first, filter_org=org, conv_layers=layers, activation="relu", dropout=0.2,
        batch_norm=False, num_neurons_dense=8,
    )  # fmt: skip
    assert config.filters == tuple(max(1, int(first * org**i)) for i in range(layers))
    assert min(config.filters) >= 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_samples": 0}, "num_samples must be positive, got 0"),
        ({"max_epochs": 2}, "grace_period 3 is above max_epochs 2"),
        ({"reduction_factor": 1}, "reduction_factor must be at least 2"),
        ({"gpus_per_trial": -0.5}, "gpus_per_trial must not be negative"),
        ({"cpus_per_trial": 0.0}, "cpus_per_trial must be positive"),
        ({"max_concurrent": 0}, "max_concurrent must be positive"),
        ({"max_failures": -1}, "max_failures must not be negative"),
        ({"seed": -1}, "seed must not be negative"),
        ({"name": "a/b"}, "must be a plain folder name"),
        ({"name": " "}, "must be a plain folder name"),
        ({"image_size": -4}, "image_size must be positive"),
        ({"data": "digits", "image_size": 20}, "multiple of 8, got 20"),
    ],
)
def test_impossible_search_settings_are_refused(setting: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**setting)


def test_image_size_defaults_to_the_data():
    assert SearchConfig().resolved_image_size == 224
    assert SearchConfig(data="digits").resolved_image_size == 32
    assert SearchConfig(data="digits", image_size=16).resolved_image_size == 16


def test_search_settings_round_trip_through_json():
    config = SearchConfig(data="digits", storage_path=Path("x"), resume=Path("x/y"), gpus_per_trial=0.5)
    assert SearchConfig.from_json(config.to_json()) == config


def test_a_trial_gets_all_it_needs_from_settings_and_space(cnn_params):
    knobs = {"first_layer_filters", "filter_org", "conv_layers", "activation", "dropout", "batch_norm",
             "num_neurons_dense", "learning_rate", "batch_size", "use_augmentation"}  # fmt: skip
    settings = SearchConfig(data="digits", image_size=16).trial_settings()
    assert TrialConfig.from_params(settings | {name: cnn_params[name] for name in knobs}).max_epochs == 27


def test_resume_refuses_what_would_make_trials_incomparable():
    stored = SearchConfig(data="digits")
    check_resumable(stored, dataclasses.replace(stored, num_samples=500, cpus_per_trial=2))
    with pytest.raises(ConfigError, match=r"--max-epochs 9 differs from the study's 27"):
        check_resumable(stored, dataclasses.replace(stored, max_epochs=9))
    with pytest.raises(ConfigError, match="may only be raised"):
        check_resumable(stored, dataclasses.replace(stored, num_samples=10))


def test_changeable_settings_exist():
    assert {f.name for f in dataclasses.fields(SearchConfig)} >= CHANGEABLE
