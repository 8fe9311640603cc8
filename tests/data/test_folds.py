from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from inat.config.trial import DataConfig
from inat.constants import TEST, VAL
from inat.data import listing
from inat.data.folds import FOLD_SEED, check_foldable, check_units_foldable, cut_folds, fold_rows
from inat.data.split_rows import Units, assign, cut
from inat.data.splits import assignment, inspect_data, load_splits
from inat.errors import DataError
from tests.conftest import write_image

COUNTS = st.lists(st.integers(6, 25), min_size=2, max_size=5)


def labels_of(counts: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def singles(labels: np.ndarray) -> Units:
    return Units(np.arange(len(labels)))


@given(counts=COUNTS, folds=st.integers(2, 6), repeat=st.integers(0, 3), seed=st.integers(0, 99))
def test_parts_are_disjoint_cover_all_rows_and_are_stratified(counts, folds, repeat, seed):
    labels = labels_of(counts, seed)
    rows = np.arange(len(labels))[:: 1 if seed % 2 else -1]
    parts = cut_folds(rows, labels, singles(labels), folds, repeat)
    assert sorted(np.concatenate([val for _, val in parts]).tolist()) == sorted(rows.tolist())
    for train, val in parts:
        assert set(train) | set(val) == set(rows)
        assert not set(train) & set(val)
        assert list(val) == sorted(val)
        for index, count in enumerate(counts):
            assert np.floor(count / folds) <= Counter(labels[val].tolist())[index] <= np.ceil(count / folds)


@given(counts=COUNTS, folds=st.integers(2, 6), repeat=st.integers(0, 3))
def test_without_copies_the_folds_are_those_of_scikit_learn(counts, folds, repeat):
    labels = labels_of(counts, 0)
    rows = np.arange(1, len(labels))
    theirs = StratifiedKFold(folds, shuffle=True, random_state=FOLD_SEED + repeat).split(rows, labels[rows])
    mine = cut_folds(rows, labels, singles(labels), folds, repeat)
    for (train, val), (their_train, their_val) in zip(mine, theirs, strict=True):
        assert (train.tolist(), val.tolist()) == (rows[their_train].tolist(), rows[their_val].tolist())


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=12, max_size=30),
    folds=st.integers(2, 4),
    repeat=st.integers(0, 2),
    grouped=st.booleans(),
)
def test_no_group_and_no_set_of_copies_is_on_two_sides(sizes, folds, repeat, grouped):
    sets = np.repeat(np.arange(len(sizes)), sizes)
    labels = sets % 2
    parts = cut_folds(np.arange(len(labels)), labels, Units(sets, grouped), folds, repeat)
    assert sorted(np.concatenate([val for _, val in parts]).tolist()) == list(range(len(labels)))
    for train, val in parts:
        assert not set(sets[train]) & set(sets[val])
        assert set(labels[train]) == set(labels[val]) == {0, 1}


@settings(deadline=None)
@given(data=st.data())
def test_folds_use_every_image_that_is_not_beside_the_test_split(data):
    count = data.draw(st.integers(80, 150))
    roles = data.draw(st.lists(st.sampled_from([VAL, TEST, "", ""]), min_size=count, max_size=count))
    sets = np.array(data.draw(st.lists(st.integers(0, 200), min_size=count, max_size=count)))
    labels, units = sets % 2, Units(sets)
    development = np.array(roles) != TEST
    assume(min(len(np.unique(sets[development & (labels == c)])) for c in (0, 1)) > 12)
    rows = assign(labels, np.ones(count, bool), roles, units, (0.2, 0.2))
    for fold in fold_rows(rows, labels, units, 3):
        assert fold.test.tolist() == rows.test.tolist()
        assert fold.left_out.tolist() == rows.beside_test.tolist()
        together = np.concatenate([fold.train, fold.val, fold.test, fold.left_out])
        assert sorted(together.tolist()) == list(range(count))
        sides = [set(sets[part]) for part in (fold.train, fold.val, fold.test)]
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_rows_keep_their_numbers_and_another_repeat_cuts_anew():
    labels = labels_of([20, 20], 0)
    rows = np.arange(1, 40, 2)
    parts = cut_folds(rows, labels, singles(labels), 4)
    assert set(parts[1][0]) | set(parts[1][1]) == set(rows)
    assert cut_folds(rows, labels, singles(labels), 4)[1][1].tolist() == parts[1][1].tolist()
    assert cut_folds(rows, labels, singles(labels), 4, repeat=1)[1][1].tolist() != parts[1][1].tolist()


def test_more_folds_than_photos_in_a_class_are_refused_in_a_sentence():
    check_foldable([0, 0, 1, 1, 1], ["birds/wren", "birds/owl"], 2)
    with pytest.raises(DataError, match=r"class birds/wren has 2 photos, fewer than --folds 3; add photos or lower"):
        check_foldable([0, 0, 1, 1, 1], ["birds/wren", "birds/owl"], 3)


@given(st.lists(st.integers(2, 40), min_size=2, max_size=5), st.sampled_from([0.1, 0.2, 0.25, 0.5]))
def test_what_is_left_beside_the_test_split_is_never_underestimated(sizes, share):
    labels = labels_of(sizes, 0)
    rows = np.arange(len(labels))
    assume(share * len(labels) >= len(sizes) and (1 - share) * len(labels) >= len(sizes))
    left, _ = cut(rows, labels, share, singles(labels))
    for index, size in enumerate(sizes):
        names = [f"class {number}" for number in range(len(sizes))]
        folds = int((labels[left] == index).sum())
        others = [number for number in range(len(sizes)) if number != index]
        alone = [0] * size + [1] * (10 * size)  # so that it is the smallest class
        check_foldable(alone, [names[index], names[others[0]]], folds, keeps=1 - share)


def test_the_photos_and_groups_that_are_to_be_folded_are_counted(tmp_path):
    for index, name in enumerate(("owl", "wren")):
        for number in range(20):
            write_image(tmp_path / "photos" / name / f"{number // 2}-{number % 2}.png", 100 * index + number)
    data = DataConfig(data=str(tmp_path / "photos"), image_size=16, cache_dir=str(tmp_path / "cache"), folds=17)
    with pytest.raises(DataError, match="owl has 16 photos without the test split, fewer than --folds 17"):
        inspect_data(data)
    inspect_data(replace(data, folds=16))
    grouped = replace(data, group_by="[a-z]+/[0-9]+", folds=11)
    with pytest.raises(DataError, match="owl has 10 groups of photos, fewer than --folds 11"):
        inspect_data(grouped)
    inspect_data(replace(grouped, folds=10))
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("grouped", "kind"), [(False, "different photos"), (True, "groups of photos")])
def test_copies_and_groups_count_once(grouped, kind):
    labels, sets = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 2, 3, 4])
    check_units_foldable(np.arange(6), labels, Units(sets, grouped), ["wren", "owl"], 2)
    with pytest.raises(DataError, match=f"class wren has 2 {kind}, fewer than --folds 3"):
        check_units_foldable(np.arange(6), labels, Units(sets, grouped), ["wren", "owl"], 3)


def test_too_few_groups_are_refused():
    labels, groups = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    with pytest.raises((DataError, ValueError)):
        cut_folds(np.arange(4), labels, Units(groups, grouped=True), 3)


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


@pytest.fixture
def tree(tmp_path):
    """A folder with all three splits; one training image is a copy of a validation image, one of a test image."""
    for split, count, start in (("train", 12, 0), ("val", 4, 100), ("test", 4, 200)):
        for index, name in enumerate(("owl", "wren")):
            for number in range(count):
                seed = 1000 * index + start + number
                write_image(tmp_path / "photos" / split / name / f"{number}.png", seed)
    train = tmp_path / "photos" / "train" / "owl"
    for other in ("val", "test"):
        copied = (tmp_path / "photos" / other / "owl" / "0.png").read_bytes()
        (train / f"of_{other}.png").write_bytes(copied)
    return DataConfig(
        data=str(tmp_path / "photos"), image_size=24, cache_dir=str(tmp_path / "cache"), keep_duplicates=False
    )


def test_folds_take_in_the_given_validation_folder_and_what_is_beside_it(tree):
    names = assignment(tree).listing.names
    left_out = {names[row] for row in assignment(tree).rows.left_out}
    assert left_out == {"train/owl/of_val.png", "train/owl/of_test.png"}
    seen = []
    for fold in range(3):
        config = replace(tree, folds=3, fold=fold)
        splits, rows = load_splits(config), assignment(config).rows
        assert splits.left_out == 1
        assert {names[row] for row in rows.left_out} == {"train/owl/of_test.png"}
        pair = {names.index("train/owl/of_val.png"), names.index("val/owl/0.png")}
        assert len(pair & set(splits.val.rows.tolist())) in (0, 2)
        assert len(splits.test) == 8
        seen += [names[row] for row in splits.val.rows]
    assert len(seen) == len(set(seen)) == 2 * (12 + 4) + 1
    assert {name.split("/")[0] for name in seen} == {"train", "val"}


def test_images_are_listed_and_decoded_once_for_all_folds_and_repeats(tree, monkeypatch):
    calls = []
    monkeypatch.setattr("inat.data.splits.list_data", lambda config: calls.append(config) or listing.list_data(config))
    first = load_splits(replace(tree, folds=2, use_augmentation=True))
    for fold, repeat in ((1, 0), (0, 1), (1, 1)):
        other = load_splits(replace(tree, folds=2, fold=fold, repeat=repeat, use_augmentation=True))
        assert other.train.images is first.train.images
        assert other.train.crops.images is first.train.crops.images
    assert len(calls) == 1
