import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inat.config.trial import DataConfig
from inat.data import digits
from inat.data.listing import groups_of, list_data
from inat.data.splits import assignment, inspect_data, list_test_images, load_splits
from inat.errors import DataError
from tests.conftest import write_image


@pytest.fixture
def config(image_tree, tmp_path):
    root = image_tree(classes=("a", "b", "c"), train=20, val=4)
    return DataConfig(data=str(root), image_size=16, cache_dir=str(tmp_path / "cache"))


def test_splits_are_disjoint_complete_and_stratified(config):
    splits = load_splits(config)
    together = np.concatenate([splits.train.rows, splits.val.rows])
    assert sorted(together) == list(range(60))
    assert np.bincount(splits.val.labels[splits.val.rows]).tolist() == [4, 4, 4]
    assert np.bincount(splits.train.labels[splits.train.rows]).tolist() == [16, 16, 16]
    assert len(splits.test) == 12


def test_training_on_validation_images_too_leaves_the_other_splits_unchanged(config):
    for data in (config, DataConfig(data="digits", image_size=8)):
        plain, both = load_splits(data), load_splits(replace(data, train_on_val=True))
        assert both.train.rows.tolist() == sorted([*plain.train.rows, *plain.val.rows])
        assert np.array_equal(both.val.rows, plain.val.rows)
        assert np.array_equal(both.test.rows, plain.test.rows)


def test_every_image_of_the_test_split_has_the_name_of_its_file(config):
    names = list_test_images(config)
    assert names[:5] == ["val/a/0.jpg", "val/a/1.jpg", "val/a/2.jpg", "val/a/3.jpg", "val/b/0.jpg"]
    assert len(names) == 12
    scans = list_test_images(DataConfig(data="digits", image_size=8))
    assert len(set(scans)) == 360
    assert scans[0] == f"scan {load_splits(DataConfig(data='digits', image_size=8)).test.rows[0]}"


def test_an_unreadable_test_image_has_no_name(config):
    (Path(config.data) / "val" / "a" / "1.jpg").write_bytes(b"nothing")
    assert list_test_images(replace(config, max_bad_fraction=0.5))[:3] == [
        "val/a/0.jpg",
        "val/a/2.jpg",
        "val/a/3.jpg",
    ]


def test_the_split_is_the_same_for_every_trial(config):
    other = DataConfig(data=config.data, image_size=8, cache_dir=config.cache_dir, use_augmentation=True)
    assert np.array_equal(load_splits(config).val.rows, load_splits(other).val.rows)


def test_a_process_keeps_its_list_of_images_when_the_tree_changes(config):
    plain = load_splits(config)
    write_image(Path(config.data) / "train" / "a" / "00.jpg")  # the rows after it would move by one
    augmented = load_splits(replace(config, use_augmentation=True))
    assert len(augmented.train.crops.images) == len(plain.train.images) == 60
    assert np.array_equal(augmented.train.rows, plain.train.rows)


def test_a_tree_with_another_fingerprint_than_the_study_is_refused(config):
    known = inspect_data(config).fingerprint
    assert load_splits(replace(config, fingerprint=known)).skipped == 0
    write_image(Path(config.data) / "train" / "a" / "00.jpg")
    with pytest.raises(DataError, match="have changed since the study began"):
        load_splits(replace(config, fingerprint=known, image_size=8))


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


@pytest.mark.parametrize("pattern", ["(x)?", "^"])
def test_a_pattern_that_finds_only_empty_groups_is_refused(image_tree, pattern):
    config = DataConfig(data=str(image_tree()), image_size=16, group_by=pattern)
    with pytest.raises(DataError, match=r"matches only empty parts of the paths; the first is 'train/bird/0.jpg'"):
        groups_of(list_data(config), config.group_by)


def test_a_test_split_that_leaves_too_few_photos_is_named(image_tree):
    root = image_tree() / "train"
    (root.parent / "val").rename(root.parent.parent / "other")
    config = DataConfig(data=str(root.parent), image_size=16, test_fraction=0.9)
    with pytest.raises(DataError, match=r"has 2 photos without the test split \(--test-fraction 0.9\), so the valid"):
        inspect_data(config)


def test_copies_of_photos_in_another_class_are_told_from_missing_photos(image_tree, tmp_path):
    root = image_tree()
    for number in range(10):
        shutil.copy(root / f"train/bird/{number}.jpg", root / f"train/fish/{number}.jpg")
    config = DataConfig(data=str(root), image_size=16, cache_dir=str(tmp_path / "cache"), keep_duplicates=False)
    with pytest.raises(DataError, match=r"fish has 0 different photos, and a class needs at least 2"):
        assignment(config)


def test_a_class_that_is_too_rare_for_a_split_is_not_said_to_be_in_groups(image_tree, tmp_path):
    root = image_tree(classes=("a", "b"), train=40) / "train"
    for number in range(3):
        write_image(root / "rare" / f"{number}.jpg", seed=9000 + number)
        write_image(root.parent / "val" / "rare" / f"{number}.jpg", seed=9500 + number)
    config = DataConfig(data=str(root.parent), image_size=16, cache_dir=str(tmp_path / "cache"), val_share=0.1)
    with pytest.raises(DataError, match=r"class 'rare' has no photo among the 9 of the validation split; add photos"):
        assignment(config)


LAYOUTS = {
    "plain": ({"": 25}, {}),
    "test given": ({"train": 20, "val": 5}, {}),
    "all given": ({"train": 10, "val": 6, "test": 4}, {}),
    "folds": ({"": 25}, {"folds": 4}),
    "folds and a test": ({"train": 20, "test": 5}, {"folds": 5}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_summary_knows_how_many_images_a_trial_trains_on(layout, tmp_path):
    counts, options = LAYOUTS[layout]
    for label, name in enumerate(("ant", "bee")):
        for part, count in counts.items():
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for image in range(count):
                seed = 1000 * label + image + 100 * len(part)
                write_image(tmp_path / "photos" / part / name / f"{image}.jpg", seed=seed)
    config = DataConfig(
        data=str(tmp_path / "photos"), image_size=8, cache_dir=str(tmp_path / "cache"), keep_duplicates=True, **options
    )
    assert inspect_data(config).training == len(load_splits(config).train)
