import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from inat.constants import TEST, TRAIN, VAL
from inat.data.split_rows import SPLIT_SEED, Units, assign, check_sides, cut, imbalance
from inat.errors import DataError


def singles(count: int) -> Units:
    return Units(np.arange(count))


def test_without_copies_the_cut_is_that_of_scikit_learn():
    labels, rows = np.arange(200) % 3, np.arange(10, 200)
    rest, part = cut(rows, labels, 0.2, singles(200))
    theirs = train_test_split(rows, test_size=0.2, stratify=labels[rows], random_state=SPLIT_SEED)
    assert rest.tolist() == sorted(theirs[0])
    assert part.tolist() == sorted(theirs[1])


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=40, max_size=120),
    classes=st.integers(2, 4),
    grouped=st.booleans(),
    share=st.sampled_from([0.1, 0.2, 0.5]),
)
def test_no_set_is_divided_and_the_parts_are_complete_and_balanced(sizes, classes, grouped, share):
    sets = np.repeat(np.arange(len(sizes)), sizes)
    labels = sets % classes  # all images of a set have its class
    rows = np.arange(len(sets))
    rest, part = cut(rows, labels, share, Units(sets, grouped))
    assert sorted([*rest, *part]) == rows.tolist()
    assert not set(sets[rest]) & set(sets[part])
    assert abs(len(part) / len(rows) - share) < 0.15
    assert imbalance(labels, labels[part], share) < 0.35


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_given_splits_stay_and_no_set_is_on_two_sides(data):
    count = data.draw(st.integers(60, 150))
    roles = data.draw(st.lists(st.sampled_from([TRAIN, VAL, TEST, ""]), min_size=count, max_size=count))
    sets = np.array(data.draw(st.lists(st.integers(0, 200), min_size=count, max_size=count)))
    labels = sets % 2
    usable = np.array(data.draw(st.lists(st.sampled_from([True, True, True, False]), min_size=count, max_size=count)))
    role = np.array(roles)
    dev = usable & (role != TEST)
    assume(min(len(np.unique(sets[dev & (labels == c)])) for c in (0, 1)) > 12)
    rows = assign(labels, usable, roles, Units(sets), (0.2, 0.2))
    parts = [rows.train, rows.val, rows.test, rows.left_out]
    assert sorted(np.concatenate(parts).tolist()) == np.flatnonzero(usable).tolist()
    if TEST in roles:
        assert rows.test.tolist() == np.flatnonzero(usable & (role == TEST)).tolist()
    for i, first in enumerate(parts[:3]):
        for second in parts[i + 1 : 3]:
            assert not set(sets[first]) & set(sets[second])
    others = set(sets[rows.val]) | set(sets[rows.test])
    assert all(sets[row] in others for row in rows.left_out)
    assert set(rows.train) <= set(np.flatnonzero((role == TRAIN) | (role == "")))


def test_a_training_copy_of_a_test_image_is_left_out_and_the_test_split_stays():
    labels = np.array([0, 1] * 20)
    roles = [""] * 30 + [TEST] * 10
    sets = np.arange(40)
    sets[4], sets[7] = sets[34], sets[35]
    rows = assign(labels, np.ones(40, bool), roles, Units(sets), (0.2, 0.2))
    assert rows.left_out.tolist() == [4, 7]
    assert rows.test.tolist() == list(range(30, 40))


def test_a_class_in_too_few_groups_is_refused():
    with pytest.raises(
        DataError, match="'fish' has no photo in the validation split: its 2 photos are in 1 group or sets"
    ):
        check_sides(np.array([0, 1, 1]), (("validation", np.array([0])),), ("bird", "fish"), Units(np.array([0, 1, 1])))


def test_one_group_for_all_photos_is_refused():
    with pytest.raises(DataError, match="all photos belong to one group"):
        cut(np.arange(10), np.arange(10) % 2, 0.2, Units(np.zeros(10, np.int64), grouped=True))


@pytest.mark.parametrize("grouped", [True, False])
def test_photos_that_are_all_beside_test_photos_leave_nothing_to_train_on(grouped):
    roles, sets = [""] * 20 + [TEST] * 20, np.tile(np.arange(20), 2)
    with pytest.raises(DataError, match=r"no photo is left to train on.*--keep-duplicates"):
        assign(np.tile([0, 1], 20), np.ones(40, bool), roles, Units(sets, grouped), (0.2, 0.2))


@pytest.mark.parametrize("grouped", [True, False])
def test_too_few_photos_that_are_no_copies_are_one_sentence(grouped):
    roles, sets = [""] * 20 + [TEST] * 20, np.tile(np.arange(20), 2)
    sets[:3] = [100, 101, 102]
    with pytest.raises(DataError, match=r"the 3 photos that are no copies of test photos cannot be cut \(.*\); add"):
        assign(np.tile([0, 1], 20), np.ones(40, bool), roles, Units(sets, grouped), (0.2, 0.2))


def test_groups_are_balanced_by_class():
    rng = np.random.default_rng(0)
    animals = np.repeat(np.arange(150), rng.integers(3, 12, 150))
    labels = animals % 5
    rows = np.arange(len(animals))
    _, part = cut(rows, labels, 0.2, Units(animals, grouped=True))
    assert imbalance(labels, labels[part], 0.2) < 0.1
