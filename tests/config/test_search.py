import dataclasses
from pathlib import Path
from typing import Any

import pytest

from inat.config.resume import check_resumable
from inat.config.search import SearchConfig, seconds_of
from inat.config.trial import TrialConfig
from inat.errors import ConfigError


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_samples": 0}, "num_samples must be positive, got 0"),
        ({"max_epochs": 2}, "grace_period 3 is above max_epochs 2"),
        ({"reduction_factor": 1}, "reduction_factor must be at least 2"),
        ({"gpus_per_trial": -0.5}, "gpus_per_trial must not be negative"),
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
        ({"target_accuracy": 1.5}, "target_accuracy must be above 0 and at most 1, got 1.5"),
    ],
)
def test_impossible_search_settings_are_refused(setting: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**setting)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5 d", 129_600), (None, None)]
)
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


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
