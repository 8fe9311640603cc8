import numpy as np
import pytest

from inat.config import DataConfig
from inat.data import digits
from inat.data.splits import load_splits


@pytest.fixture
def config(photo_tree, tmp_path):
    root = photo_tree(classes=("a", "b", "c"), train=20, val=4)
    return DataConfig(data=str(root), image_size=16, cache_dir=str(tmp_path / "cache"))


def test_splits_are_disjoint_complete_and_stratified(config):
    splits = load_splits(config)
    together = np.concatenate([splits.train.rows, splits.val.rows])
    assert sorted(together) == list(range(60))
    assert np.bincount(splits.val.labels[splits.val.rows]).tolist() == [4, 4, 4]
    assert np.bincount(splits.train.labels[splits.train.rows]).tolist() == [16, 16, 16]
    assert len(splits.test) == 12


def test_the_split_is_the_same_for_every_trial(config):
    other = DataConfig(data=config.data, image_size=8, cache_dir=config.cache_dir, use_augmentation=True)
    assert np.array_equal(load_splits(config).val.rows, load_splits(other).val.rows)


def test_digits_are_real_scans_in_three_stratified_splits():
    splits = load_splits(DataConfig(data="digits", image_size=32))
    sizes = [len(split) for split in (splits.train, splits.val, splits.test)]
    assert sum(sizes) == 1797
    assert sizes == [1149, 288, 360]
    assert splits.train.images.shape == (1797, 32, 32, 3)
    for split in (splits.val, splits.test):
        shares = np.bincount(split.labels[split.rows]) / len(split)
        assert shares.min() > 0.09


def test_digits_are_enlarged_without_blur():
    small, labels = digits.load(8)
    large, _ = digits.load(24)
    assert np.array_equal(large[:, ::3, ::3], small)
    assert np.array_equal(large[:, 1::3, 2::3], small)
    assert small.min() == 0
    assert small.max() == 255
    assert labels[:5].tolist() == [0, 1, 2, 3, 4]
