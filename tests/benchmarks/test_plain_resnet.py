import itertools

import pytest
from torch import nn

from benchmarks import plain_resnet
from inat.config.trial import DataConfig
from inat.data.splits import load_splits


@pytest.fixture
def data(image_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(plain_resnet, "WORKERS", 0)
    return DataConfig(data=str(image_tree()), image_size=8, cache_dir=str(tmp_path / "cache"))


def test_it_trains_on_the_split_of_inat(data):
    splits, parts = load_splits(data), plain_resnet.loaders(data)
    for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        assert [label for _, label in parts[name].dataset.samples] == split.labels[split.rows].tolist()
    paths = [path for part in parts.values() for path, _ in part.dataset.samples]
    assert len(set(paths)) == 26
    assert all("/val/" in path for path, _ in parts["test"].dataset.samples)


def test_training_has_the_numbers_of_the_other_sides(data, one_thread, monkeypatch):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
    monkeypatch.setattr(plain_resnet, "network", lambda image_size, classes: linear)
    clock = itertools.count()  # the real one has steps of 0.01 s
    monkeypatch.setattr(plain_resnet.os, "times", lambda: (next(clock), 0, 0, 0, 0))
    row = plain_resnet.train(data, epochs=2, seed=1, threads=1, test=True)
    assert 0 <= row["val"] == max(row["curve"]) <= 1
    assert 0 <= row["test"] <= 1
    assert (row["epochs"], len(row["curve"]), row["cpu"]) == (2, 2, 1)


def test_small_images_keep_their_pixels():
    small, default, large = (plain_resnet.network(side, 10) for side in (32, 64, 96))
    assert small.conv1.stride == default.conv1.stride == (1, 1)
    assert large.conv1.stride == (2, 2)
    assert small.fc.out_features == 10
