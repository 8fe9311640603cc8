import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.objective import ACCURACY, OBJECTIVES
from inat.config.trial import DataConfig
from inat.data.class_balance import class_counts, class_weights, describe_balance
from inat.data.splits import load_splits

COUNTS = st.lists(st.integers(1, 100_000), min_size=1, max_size=20)


@given(COUNTS, st.sampled_from(["balanced", "effective"]))
def test_weights_have_a_mean_of_1_over_the_images_and_are_larger_for_rarer_classes(counts, method):
    weights = class_weights(method, counts)
    assert np.average(weights, weights=counts) == pytest.approx(1)
    order = np.argsort(counts)
    assert (np.diff(np.array(weights)[order]) <= 1e-12).all()


@given(COUNTS)
def test_effective_weights_are_between_no_weights_and_balanced_ones(counts):
    spread = {method: max(w) / min(w) for method in ("balanced", "effective") if (w := class_weights(method, counts))}
    assert spread["effective"] * (1 + 1e-9) >= 1
    assert spread["effective"] <= spread["balanced"] * (1 + 1e-9)


def test_the_effective_number_is_that_of_the_paper():
    # (1 - 0.999^n) / 0.001: 1 for one image, 632.3 for 1,000; the ratio of the weights is the inverse.
    rare, frequent = class_weights("effective", [1, 1000])
    assert rare / frequent == pytest.approx((1 - 0.999**1000) / 0.001)


def test_without_weights_there_are_none_and_a_class_without_images_weighs_nothing():
    assert class_weights("none", [3, 4]) is None
    assert class_weights("balanced", [0, 4]) == [0.0, 1.0]


def test_the_counts_of_all_splits_add_up_to_the_images():
    splits = load_splits(DataConfig(data="digits", image_size=8))
    counts = class_counts(splits)
    assert {name: sum(numbers) for name, numbers in counts.items()} == {"train": 1149, "val": 288, "test": 360}
    assert all(len(numbers) == 10 for numbers in counts.values())


def describe(train, val, objective=ACCURACY):
    return describe_balance(["ant", "bee"], {"train": train, "val": val, "test": val}, objective)


def test_the_largest_and_the_smallest_class_stand_beside_the_score_of_a_constant_answer():
    assert describe([80, 78], [20, 21]) == [
        "classes 2: largest ant 100 (50 %), smallest bee 99, of training and validation photos; a constant answer "
        "scores 0.4878"  # ant is the largest in training: 20 of 41 validation photos
    ]
    (line,) = describe([80, 78], [20, 21], OBJECTIVES["balanced_accuracy"])
    assert line.endswith("; a constant answer scores 0.5000 balanced accuracy")


@pytest.mark.parametrize(
    ("photos", "advised"),
    [([80, 80], False), ([75, 25], False), ([76, 24], True), ([50, 25, 25], False), ([51, 25, 24], True)],
)
def test_a_class_with_over_half_of_the_photos_leads_to_advice(photos, advised):
    counts = {"train": photos, "val": [0] * len(photos), "test": photos}
    lines = describe_balance(list("abc")[: len(photos)], counts, ACCURACY)
    assert (lines[-1].startswith("advice") and "--metric balanced_accuracy" in lines[-1]) == advised


def test_ten_times_the_photos_lead_to_advice_unless_a_metric_was_chosen():
    counts = {"train": [10, 40, 40, 40, 100], "val": [0, 0, 0, 0, 0], "test": [1] * 5}
    classes = list("abcde")
    assert len(describe_balance(classes, counts, ACCURACY)) == 2
    assert len(describe_balance(classes, counts, OBJECTIVES["macro_f1"])) == 1
    assert len(describe_balance(classes, counts | {"train": [11, 40, 40, 40, 100]}, ACCURACY)) == 1


def test_a_class_with_a_line_break_does_not_forge_a_line():
    counts = {"train": [9, 5], "val": [1, 1], "test": [1, 1]}
    assert "\n" not in "".join(describe_balance(["a\nbest    t0000", "b"], counts, ACCURACY))
