"""Probes of real features, of a network with random weights on the built-in data."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inat.config.finetune import FinetuneConfig
from inat.data import disk
from inat.data.splits import load_splits
from inat.errors import ConfigError, DataError
from inat.rank import RankCommand
from inat.tuning.racing.probes import (
    Candidate,
    Probe,
    check_classes,
    probe,
    probe_config,
    probe_weights,
    time_candidate,
)
from tests.paths import ROOT


def with_cache(folder: Path) -> FinetuneConfig:
    return FinetuneConfig(
        data="digits", image_size=16, backbones=("mobilenet_v2",), weights="none", cache_dir=folder / "cache",
        precision="32-true",
    )  # fmt: skip


@pytest.fixture
def config(tmp_path) -> FinetuneConfig:
    return with_cache(tmp_path)


@pytest.fixture(scope="module")
def probed(tmp_path_factory) -> tuple[FinetuneConfig, Candidate, Probe]:
    """A search whose cache was empty, its backbone as it was timed then, and the first probe."""
    config = with_cache(tmp_path_factory.mktemp("probed"))
    candidate = time_candidate(config, "mobilenet_v2")
    return config, candidate, probe(config, candidate)


def test_a_probe_computes_features_once_and_repeats_its_values(probed):
    config, candidate, first = probed
    assert candidate.seconds > 0
    assert time_candidate(config, "mobilenet_v2").seconds == 0  # nothing is left to compute
    again = probe(config, candidate)
    assert first.feature_seconds is not None
    assert again.feature_seconds is None
    times = {"feature_seconds": 0.0, "solve_seconds": 0.0}
    assert replace(again, **times) == replace(first, **times)
    assert first.linear_probe > 0.4  # of 10 classes: a constant answer scores 0.1
    assert first.probe_low < first.linear_probe < first.probe_high


@pytest.mark.slow
def test_the_probe_follows_metric_and_class_weights(probed):
    config, candidate, plain = probed
    loss = probe(replace(config, metric="val_loss"), candidate)
    assert loss.linear_probe != plain.linear_probe
    assert loss.probe_low < loss.linear_probe < loss.probe_high
    splits = load_splits(probe_config(config, "mobilenet_v2").data)
    assert probe_weights(config, splits) is None
    assert probe_weights(replace(config, balanced_sampler=True), splits) == probe_weights(
        replace(config, class_weights="balanced"), splits
    )


def test_features_that_do_not_fit_the_disk_are_refused(config, monkeypatch):
    candidate = time_candidate(config, "mobilenet_v2")
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1000)
    with pytest.raises(
        DataError, match=r"has 1\.0 kB free and probing mobilenet_v2 needs .*; free some space, or pass"
    ):
        probe(config, candidate)


def test_validation_images_of_one_class_cannot_judge(config):
    splits = load_splits(probe_config(config, "mobilenet_v2").data)
    one_class = splits.val.rows[splits.val.labels[splits.val.rows] == 3]
    with pytest.raises(DataError, match="^the validation photos are all of one class"):
        check_classes(replace(splits, val=replace(splits.val, rows=one_class)))
    with pytest.raises(DataError, match="^there are no validation photos"):
        check_classes(replace(splits, val=replace(splits.val, rows=np.array([], dtype=np.int64))))


def test_folds_and_augmentation_do_not_reach_a_probe(config):
    trial = probe_config(replace(config, folds=3, augmentation="on", views=0), "mobilenet_v2")
    assert (trial.data.folds, trial.data.use_augmentation, trial.model.views) == (0, False, 1)


def test_options_of_rank_are_those_of_a_search():
    assert RankCommand(photos="digits").search().backbones == (
        "mobilenet_v2", "googlenet", "resnet50", "efficientnet_v2_s", "vit_b_16", "vgg16",
    )  # fmt: skip
    assert RankCommand(photos="digits", image_size=16).search().backbones == (
        "mobilenet_v2", "googlenet", "resnet50", "vit_b_16",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="unknown backbone 'resnet'"):
        RankCommand(photos="digits", backbones=("resnet",))


@pytest.mark.long
@pytest.mark.slow
def test_rank_prints_a_table_and_writes_it(tmp_path):
    (tmp_path / "weights").mkdir()
    words = [
        sys.executable, "-m", "inat.rank", "digits", "--image-size", "16", "--weights", "none", "--backbones",
        "mobilenet_v2", "--cache-dir", str(tmp_path / "cache"), "--csv", str(tmp_path / "table.csv"),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "mobilenet_v2  16   2.2 M" in done.stdout
    with open(tmp_path / "table.csv", newline="") as file:
        assert [row["backbone"] for row in csv.DictReader(file)] == ["mobilenet_v2"]
