import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from analysis.class_counts import constant_score, constant_scores, describe_counts, is_imbalanced, recorded_counts
from analysis.constant_answer import no_better_trials
from tests.analysis.studies import study_of

COUNTS = {"train": [8, 2], "val": [3, 1], "test": [4, 6]}


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=3, max_size=8))
def test_the_constant_scores_are_those_of_scikit_learn(pairs):
    train, counts = np.array(pairs).T
    labels = np.repeat(np.arange(len(counts)), counts)
    shares = np.tile(train / train.sum(), (len(labels), 1))
    # Of equal classes the first is the answer.
    ranking = np.tile(np.argsort(np.argsort(-train, kind="stable")), (len(labels), 1)) * -1
    answer = ranking.argmax(1)
    found = constant_scores(train.tolist(), counts.tolist())
    assert found["val_acc"] == pytest.approx(accuracy_score(labels, answer))
    assert found["val_balanced_acc"] == pytest.approx(balanced_accuracy_score(labels, answer))
    assert found["val_macro_f1"] == pytest.approx(f1_score(labels, answer, average="macro"))
    assert found["val_top2_acc"] == pytest.approx(top_k_accuracy_score(labels, ranking, k=2))
    assert found["val_loss"] == pytest.approx(log_loss(labels, shares))


def test_classes_without_images_do_not_count():
    assert constant_scores([0, 3, 1], [0, 1, 2]) == constant_scores([3, 1], [1, 2])
    assert constant_scores([0, 0], [1, 1]) == constant_scores([1, 1], [0, 0]) == constant_scores([], []) == {}
    alone = {"val_acc": 1, "val_balanced_acc": 1, "val_macro_f1": 1, "val_top2_acc": 1, "val_loss": 0}
    assert constant_scores([5], [5]) == alone


def test_the_answer_is_the_first_of_the_largest_training_classes_whatever_the_evaluated_images_are():
    assert constant_scores([4, 6, 6], [1, 2, 7])["val_acc"] == 0.2
    missing = constant_scores([6, 0], [0, 4])  # what is most frequent in training is absent, and the other way round
    assert missing == {"val_acc": 0, "val_balanced_acc": 0, "val_macro_f1": 0, "val_top2_acc": 1}


@pytest.mark.parametrize(
    ("counts", "imbalanced"),
    [([], False), ([7], False), ([10, 9], False), ([100, 11, 90], False), ([100, 10, 90], True), ([9, 1, 1], True),
     ([5, 0, 4, 4], False), ([10, 0, 9, 9], True)],
)  # fmt: skip
def test_a_large_class_or_a_rare_one_makes_the_classes_imbalanced(counts, imbalanced):
    assert is_imbalanced(counts) is imbalanced


def test_the_counts_of_a_study_come_from_its_record():
    info = {"class_counts": COUNTS}
    assert recorded_counts(info) == COUNTS
    assert constant_score(info, "val_acc") == 0.75
    assert constant_score(info, "val_acc", "test") == 0.4  # class 0, as in training
    assert constant_score(info, "val/auc") is None


@pytest.mark.parametrize(
    "record",
    [None, [], {}, {"val": [1]}, COUNTS | {"val": []}, COUNTS | {"val": [1, 2, 3]}, COUNTS | {"val": [1, -1]},
     COUNTS | {"val": [1, 0.5]}, COUNTS | {"val": [True, 1]}, COUNTS | {"val": "12"}, COUNTS | {"val": [1, 2**60]}],
)  # fmt: skip
def test_a_damaged_or_missing_record_is_left_out(record):
    info = {"class_counts": record}
    assert recorded_counts(info) == {}
    assert constant_score(info, "val_acc") is None


def test_equal_classes_are_named_in_their_order():
    assert describe_counts(["a", "b", "c"], [5, 5, 5]) == "3: largest a 5 (33 %), smallest c 5"
    assert math.isclose(constant_scores([5, 5, 5], [1, 1, 1])["val_loss"], math.log(3))


def test_a_trial_that_always_names_the_largest_class_is_no_better_than_that():
    info = {"class_counts": {"train": [117, 1034], "val": [29, 259], "test": [36, 324]}}
    constant = 259 / 288
    made = study_of([{"a": 1}, {"a": 2}], [[float(np.float32(constant))], [constant + 1 / 288]])
    study = replace(made, info=info)
    assert no_better_trials(study) == (1, 2)
