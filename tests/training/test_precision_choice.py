import json
from dataclasses import replace

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.training import precision_choice
from inat.training.precision_choice import (
    compare,
    keep_choice,
    measure_ratio,
    network_key,
    read_choice,
    settle_precision,
)


@pytest.fixture(autouse=True)
def a_processor_with_bfloat16(monkeypatch):
    monkeypatch.delenv(precision_choice.SWITCH, raising=False)
    monkeypatch.setattr(
        precision_choice, "resolve_precision", lambda precision: "bf16-mixed" if precision == "auto" else precision
    )


@pytest.fixture
def config(cnn_params, tmp_path) -> TrialConfig:
    return TrialConfig.from_params(cnn_params | {"cache_dir": str(tmp_path / "cache")})


def never(config, classes):
    pytest.fail("measured")


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(0.5, "bf16-mixed"), (1.04, "bf16-mixed"), (1.06, "32-true"), (2.0, "32-true")]
)
def test_float32_is_taken_where_16_bit_is_clearly_slower(config, tmp_path, ratio, chosen):
    settled = settle_precision(config, tmp_path / "precision.jsonl", lambda *_: ratio)
    assert settled == replace(config, precision=chosen)


def test_a_choice_is_made_once_per_network_and_the_studys_choice_counts(config, tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert settle_precision(config, first, lambda *_: 2.0).precision == "32-true"
    other_head = replace(config, optim=replace(config.optim, learning_rate=1.0))
    assert settle_precision(other_head, first, never).precision == "32-true"
    # Another study takes the choice of the cache, unless another node has made one for it.
    assert settle_precision(config, second, never).precision == "32-true"
    third = tmp_path / "third.jsonl"
    keep_choice(third, network_key(config), "bf16-mixed", config)
    assert settle_precision(config, third, never).precision == "bf16-mixed"


def test_a_plan_keeps_its_choice_for_the_search(config, tmp_path):
    assert settle_precision(config, None, lambda *_: 2.0).precision == "32-true"
    assert settle_precision(config, None, never).precision == "32-true"
    assert settle_precision(config, tmp_path / "study.jsonl", never).precision == "32-true"
    assert len((tmp_path / "cache" / "precision.jsonl").read_text().splitlines()) == 1


def test_a_precision_that_was_given_stays_and_so_does_a_processor_without_16_bit(config, tmp_path, monkeypatch):
    given = replace(config, precision="bf16-mixed")
    assert settle_precision(given, tmp_path / "precision.jsonl", never) == given
    monkeypatch.setenv(precision_choice.SWITCH, "0")
    assert settle_precision(config, tmp_path / "precision.jsonl", never) == config
    monkeypatch.delenv(precision_choice.SWITCH)
    monkeypatch.setattr(precision_choice, "resolve_precision", lambda precision: "32-true")
    assert settle_precision(config, tmp_path / "precision.jsonl", never) == config
    assert not (tmp_path / "precision.jsonl").exists()


def test_the_first_line_counts_and_damaged_lines_are_skipped(config, tmp_path):
    path = tmp_path / "precision.jsonl"
    path.write_text('{"key": "a", "precision": "auto"}\n[1]\n{"key": "a", "preci')
    assert read_choice(path, "a") is None
    assert keep_choice(path, "a", "32-true", config) == "32-true"
    assert keep_choice(path, "a", "bf16-mixed", config) == "32-true"
    assert keep_choice(path, "b", "bf16-mixed", config) == "bf16-mixed"
    assert json.loads(path.read_text().splitlines()[-1])["network"] == "CNNConfig, 16 px"
    assert keep_choice(tmp_path / "no" / "folder.jsonl", "a", "32-true", config) == "32-true"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"dropout": 0.5}, True),
        ({"learning_rate": 0.5}, True),
        ({"image_size": 24}, False),
        ({"conv_layers": 3}, False),
    ],
)
def test_what_changes_a_step_changes_the_key(cnn_params, change, same):
    keys = [network_key(TrialConfig.from_params(params)) for params in (cnn_params, cnn_params | change)]
    assert (keys[0] == keys[1]) == same


def test_frozen_stages_and_kept_features_change_the_key(backbone_params):
    base = network_key(TrialConfig.from_params(backbone_params))
    limits = {"max_cache_gb": 1.0, "feature_rules": 2, "max_feature_gb": 3.0}
    assert network_key(TrialConfig.from_params(backbone_params | limits)) == base
    changes = ({}, {"strategy": "unfreeze_all"}, {"views": 0}, {"strategy": "freeze_partial", "k_layers": 2})
    assert len({network_key(TrialConfig.from_params(backbone_params | change)) for change in changes}) == 4


def test_a_slow_moment_does_not_decide():
    seconds = iter([1.0, 1.0, *([1.0, 0.5] * 2 + [9.0, 0.5] + [1.0, 0.5] * 100)])
    order = []

    def step(precision):
        order.append(precision)
        return next(seconds) if precision == "bf16-mixed" else 1.0

    assert compare(step, "bf16-mixed") < 1.1
    assert order[:4] == ["bf16-mixed", "32-true", "32-true", "bf16-mixed"]


@pytest.mark.parametrize("error", [
    RuntimeError('"layer" not implemented for BFloat16'), TypeError("Got unsupported ScalarType BFloat16"),
])  # fmt: skip
def test_a_network_that_cannot_compute_in_16_bit_takes_float32(config, tmp_path, monkeypatch, error):
    def step(*_):
        raise error

    monkeypatch.setattr(precision_choice, "_StepTimer", step)
    assert settle_precision(config, tmp_path / "precision.jsonl").precision == "32-true"


@pytest.mark.parametrize("strategy", ["freeze_all", "unfreeze_all"])
def test_measuring_leaves_random_numbers_and_shared_stages_alone(backbone_params, monkeypatch, strategy):
    monkeypatch.setattr(precision_choice, "MOST_ROUNDS", 1)
    config = TrialConfig.from_params(backbone_params | {"strategy": strategy, "precision": "auto"})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert measure_ratio(config, 2) > 0
    assert torch.equal(torch.rand(3), expected)
    from inat.models.factory import load_pretrained

    shared = load_pretrained(config.model, 32, 2)
    assert not any(module.training for module in shared.modules())
    assert not any(parameter.requires_grad for parameter in shared.parameters())


def test_a_device_without_memory_to_measure_keeps_the_hardwares_choice(config, monkeypatch):
    def step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(precision_choice, "_StepTimer", step)
    assert measure_ratio(config, 2) == 1.0
