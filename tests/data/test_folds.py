from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.trial import DataConfig
from inat.data.folds import check_foldable, fold_rows
from inat.data.splits import inspect_data, load_splits
from inat.errors import DataError

COUNTS = st.lists(st.integers(6, 25), min_size=2, max_size=5)


def labels_of(counts: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def parts_of(rows, labels, folds, repeat=0, groups=None):
    return [fold_rows(rows, labels, folds, fold, repeat, groups) for fold in range(folds)]


@given(counts=COUNTS, folds=st.integers(2, 6), repeat=st.integers(0, 3), seed=st.integers(0, 99))
def test_parts_are_disjoint_cover_all_rows_and_are_stratified(counts, folds, repeat, seed):
    labels = labels_of(counts, seed)
    rows = np.arange(len(labels))[:: 1 if seed % 2 else -1]
    parts = parts_of(rows, labels, folds, repeat)
    assert sorted(np.concatenate([val for _, val in parts]).tolist()) == sorted(rows.tolist())
    for train, val in parts:
        assert set(train) | set(val) == set(rows)
        assert not set(train) & set(val)
        assert list(val) == sorted(val)
        for index, count in enumerate(counts):
            assert np.floor(count / folds) <= Counter(labels[val].tolist())[index] <= np.ceil(count / folds)


@given(groups=st.lists(st.integers(1, 4), min_size=12, max_size=30), folds=st.integers(2, 4), repeat=st.integers(0, 2))
def test_no_group_is_on_two_sides(groups, folds, repeat):
    members = np.repeat(np.arange(len(groups)), groups)
    labels = members % 2
    parts = parts_of(np.arange(len(labels)), labels, folds, repeat, members)
    assert sorted(np.concatenate([val for _, val in parts]).tolist()) == list(range(len(labels)))
    assert not any(set(members[train]) & set(members[val]) for train, val in parts)


def test_rows_keep_their_numbers_and_another_repeat_cuts_anew():
    labels = labels_of([20, 20], 0)
    rows = np.arange(1, 40, 2)
    train, val = fold_rows(rows, labels, 4, 1)
    assert set(train) | set(val) == set(rows)
    assert fold_rows(rows, labels, 4, 1)[1].tolist() == val.tolist()
    assert fold_rows(rows, labels, 4, 1, repeat=1)[1].tolist() != val.tolist()


def test_more_folds_than_photos_in_a_class_are_refused_in_a_sentence():
    check_foldable([0, 0, 1, 1, 1], ["birds/wren", "birds/owl"], 2)
    with pytest.raises(DataError, match=r"class birds/wren has 2 photos, fewer than --folds 3; add photos or lower"):
        check_foldable([0, 0, 1, 1, 1], ["birds/wren", "birds/owl"], 3)


def test_too_few_groups_are_refused():
    labels, groups = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    with pytest.raises((DataError, ValueError)):
        parts_of(np.arange(4), labels, 3, groups=groups)


def test_a_folder_is_checked_before_anything_is_decoded(image_tree, tmp_path):
    data = DataConfig(data=str(image_tree()), image_size=16, cache_dir=str(tmp_path / "cache"), folds=1000)
    with pytest.raises(DataError, match="fewer than --folds 1000"):
        inspect_data(data)
    assert not (tmp_path / "cache").exists()


def test_each_development_image_is_validated_on_once_and_the_test_split_stays():
    plain = load_splits(DataConfig(data="digits", image_size=8))
    seen = []
    for fold in range(3):
        splits = load_splits(DataConfig(data="digits", image_size=8, folds=3, fold=fold))
        assert splits.test.rows.tolist() == plain.test.rows.tolist()
        assert not set(splits.train.rows) & set(splits.val.rows)
        seen += splits.val.rows.tolist()
    assert sorted(seen) == sorted([*plain.train.rows, *plain.val.rows])
