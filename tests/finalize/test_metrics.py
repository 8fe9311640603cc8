import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from analysis.stats.shares import wilson_interval
from inat.finalize.metrics import (
    calibration_error,
    chance_calibration_error,
    compute_scores,
    per_class_scores,
    reliability,
)

CLASSES = ("ant", "bee", "cat")


def logits_of(probabilities) -> np.ndarray:
    return np.log(np.asarray(probabilities, np.float32))


def test_numbers_of_six_images_by_hand():
    probabilities = [
        [0.7, 0.2, 0.1], [0.6, 0.3, 0.1],  # ants, both right
        [0.5, 0.4, 0.1], [0.1, 0.8, 0.1],  # bees, the first predicted as ant
        [0.6, 0.3, 0.1], [0.1, 0.3, 0.6],  # cats, the first predicted as ant, and cat not even second
    ]  # fmt: skip
    scores = compute_scores(logits_of(probabilities), np.array([0, 0, 1, 1, 2, 2]), CLASSES, [1, 5, 3])
    values = scores.values
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["top2_accuracy"] == pytest.approx(5 / 6)
    assert values["majority_share"] == values["constant_accuracy"] == pytest.approx(1 / 3)
    assert values["mean_confidence"] == pytest.approx(3.8 / 6)
    assert values["loss"] == pytest.approx(-np.mean(np.log([0.7, 0.6, 0.4, 0.8, 0.1, 0.6])), rel=1e-5)
    assert scores.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [1, 0, 1]]
    ant, bee, cat = scores.per_class
    assert (ant["precision"], ant["recall"], ant["support"]) == (0.5, 1.0, 2)
    assert (bee["precision"], bee["recall"]) == (1.0, 0.5)
    assert cat["f1"] == pytest.approx(2 / 3)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 2 / 3) / 3)
    assert scores.confusions == [
        {"true": "bee", "predicted": "ant", "images": 1, "of": 2},
        {"true": "cat", "predicted": "ant", "images": 1, "of": 2},
    ]
    # confidence bins: one image at 0.5 (wrong), three at 0.6 (two right), one at 0.7, one at 0.8
    assert values["ece"] == pytest.approx((0.5 + 3 * abs(2 / 3 - 0.6) + 0.3 + 0.2) / 6, abs=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 80))
@settings(max_examples=30, deadline=None)
def test_parts_agree_with_the_whole(seed, classes, count):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(count, classes)).astype(np.float32) * 3, rng.integers(0, classes, count)
    scores = compute_scores(logits, labels, [f"c{i}" for i in range(classes)], [1] * classes)
    low, high = scores.values["accuracy_interval"]
    assert 0 <= low <= scores.values["accuracy"] <= high <= 1
    assert np.trace(scores.confusion) == round(scores.values["accuracy"] * count)
    assert sum(row["images"] for row in scores.reliability) == count
    assert sum(row["support"] for row in scores.per_class) == count
    # the diagram and the calibration error use the same bins
    gaps = [row["images"] * abs(row["accuracy"] - row["confidence"]) for row in scores.reliability if row["images"]]
    assert scores.values["ece"] == pytest.approx(sum(gaps) / count, abs=1e-5)
    if classes > 2:
        expected = top_k_accuracy_score(labels, logits, k=2, labels=range(classes))
        assert scores.values["top2_accuracy"] == pytest.approx(expected)


def test_the_second_class_counts_although_its_probability_rounds_to_zero():
    saturated = np.array([[400, 200, 0, 0], [0, 400, 0, 200]], np.float32)
    values = compute_scores(saturated, np.array([1, 0]), "abcd", [1] * 4).values
    assert (values["accuracy"], values["top2_accuracy"]) == (0.0, 0.5)


def test_full_confidence_falls_into_the_same_bin_as_in_the_diagram():
    # Two images with confidence 1, one of them wrong, and a correct one with 0.95: one bin of three images.
    logits = np.array([[400, 0], [400, 0], [np.log(0.95 / 0.05), 0]], np.float32)
    scores = compute_scores(logits, np.array([0, 1, 0]), "ab", [1, 2])
    assert scores.values["constant_accuracy"] == pytest.approx(1 / 3)  # b, which is the largest in training
    assert scores.reliability[-1]["images"] == 3
    assert scores.values["ece"] == pytest.approx(abs(2 / 3 - (1 + 1 + 0.95) / 3), abs=1e-6)


def test_equal_logits_are_ranked_in_order_of_class():
    values = compute_scores(np.zeros((4, 4), np.float32), np.arange(4), "abcd", [1] * 4).values
    assert (values["accuracy"], values["top2_accuracy"]) == (0.25, 0.5)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 20), st.sampled_from([1e-7, 1, 50, 500]))
@settings(max_examples=30, deadline=None)
def test_a_correct_prediction_is_also_correct_in_top_2(seed, classes, count, scale):
    rng = np.random.default_rng(seed)
    logits, labels = (rng.integers(-2, 3, (count, classes)) * scale).astype(np.float32), rng.integers(0, classes, count)
    values = compute_scores(logits, labels, [f"c{i}" for i in range(classes)], [1] * classes).values
    assert values["accuracy"] <= values["top2_accuracy"]
    assert values["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())


def test_the_accuracy_has_wilsons_interval_also_where_all_is_right():
    logits = logits_of([[0.9, 0.05, 0.05]] * 20)
    values = compute_scores(logits, np.zeros(20, int), CLASSES, [1, 1, 1]).values
    assert values["accuracy_interval"] == values["top2_interval"] == list(wilson_interval(20, 20))


def test_a_calibrated_model_has_a_calibration_error_by_chance():
    # The mean of |binomial share - p| is about sqrt(2 p (1 - p) / (pi n)).
    found = chance_calibration_error(np.full(360, 0.9, np.float32))
    assert found["ece_chance"] == pytest.approx(np.sqrt(2 * 0.9 * 0.1 / (np.pi * 360)), rel=0.05)
    assert found["ece_chance_95"] == pytest.approx(1.96 * np.sqrt(0.9 * 0.1 / 360), rel=0.1)
    assert found == chance_calibration_error(np.full(360, 0.9, np.float32))
    assert chance_calibration_error(np.ones(5, np.float32)) == {"ece_chance": 0.0, "ece_chance_95": 0.0}


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
@settings(max_examples=5, deadline=None)
def test_the_95_percent_point_holds_for_answers_drawn_from_the_confidences(seed, count):
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.3, 1, count).astype(np.float32)
    limit = chance_calibration_error(confidence)
    draws = random.random((200, count)) < confidence
    errors = [calibration_error(reliability(confidence, draw)) for draw in draws]
    assert np.mean(np.array(errors) <= limit["ece_chance_95"] + 1e-6) > 0.85


def test_a_ratio_without_images_is_none():
    never_predicted, absent = per_class_scores(np.array([0, 0, 1]), np.array([0, 0, 0]), CLASSES)[1:]
    assert (never_predicted["precision"], never_predicted["recall"], never_predicted["f1"]) == (None, 0.0, 0.0)
    assert (absent["recall"], absent["recall_interval"], absent["support"]) == (None, None, 0)


def test_confidences_at_the_ends_are_counted():
    rows = reliability(np.array([0.0, 0.1, 1.0], np.float32), np.array([False, False, True]))
    assert [row["images"] for row in rows] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert rows[-1]["accuracy"] == 1.0
    assert rows[2]["accuracy"] is None
