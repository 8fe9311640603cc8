import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from analysis.stats.paired_scores import compare_scores, f1_ratios, mean_ratios, recall_ratios
from analysis.stats.pairs import compare_pairs


def answers(seed: int, images: int = 300, classes: int = 6, right: float = 0.7):
    """Labels, the classes that two networks predict, and one fold."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, images, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    hard, wrong = random.random(images), random.integers(classes, size=images)
    predicted = [np.where(hard + 0.4 * random.random(images) < right, labels, wrong) for _ in range(2)]
    return labels, *predicted, np.zeros(images, dtype=int)


def test_the_scores_are_those_of_scikit_learn_and_means_over_folds():
    labels, predicted, _, fold = answers(0)
    assert recall_ratios(labels, predicted, fold, 6).value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert f1_ratios(labels, predicted, fold, 9).value == pytest.approx(f1_score(labels, predicted, average="macro"))
    fold = np.arange(300) % 3
    each = [f1_score(labels[fold == at], predicted[fold == at], average="macro") for at in range(3)]
    assert f1_ratios(labels, predicted, fold, 6).value == pytest.approx(np.mean(each))
    assert mean_ratios(labels, fold).value == pytest.approx(np.mean([labels[fold == at].mean() for at in range(3)]))


def test_swaps_are_mcnemars_test_where_the_score_is_the_accuracy():
    for seed in range(4):
        labels, first, second, fold = answers(seed, right=0.7)
        second = np.where(np.arange(300) < 8 * seed, (labels + 1) % 6, second)  # a difference that grows
        right = first == labels, second == labels
        found = compare_scores(*(mean_ratios(one, fold) for one in right))
        exact = compare_pairs(*right)
        assert found["difference"] == pytest.approx(exact["difference"])
        assert found["p_value"] == pytest.approx(exact["p_value"], abs=0.03)
        assert [found["low"], found["high"]] == pytest.approx(exact["difference_interval"], abs=0.01)


def test_the_p_value_is_that_of_scipys_permutation_test():
    labels, first, second, fold = answers(5)
    second = np.where(np.arange(300) < 20, 0, second)
    found = compare_scores(*(f1_ratios(labels, one, fold, 6) for one in (first, second)))

    def difference(one, two):
        return f1_score(labels, one, average="macro") - f1_score(labels, two, average="macro")

    expected = stats.permutation_test(
        (first, second), difference, permutation_type="samples", n_resamples=300, vectorized=False, rng=0
    )
    assert found["difference"] == pytest.approx(expected.statistic)
    assert 0.01 < expected.pvalue < 0.9
    assert found["p_value"] == pytest.approx(expected.pvalue, abs=0.1)


def test_equal_answers_are_no_difference_and_clear_ones_are():
    labels, first, _, fold = answers(1)
    same = [recall_ratios(labels, first, fold, 6)] * 2
    assert compare_scores(*same)["p_value"] == 1.0
    worse = np.where(np.arange(300) < 100, (labels + 1) % 6, first)
    found = compare_scores(same[0], recall_ratios(labels, worse, fold, 6))
    assert found["p_value"] < 1e-6  # below what random swaps can show
    assert 0 < found["low"] < found["difference"] < found["high"]


@pytest.mark.parametrize("score", [recall_ratios, f1_ratios])
def test_equal_networks_are_told_apart_in_one_of_twenty_samples_and_intervals_hold(score):
    apart = held = 0
    for seed in range(100):
        labels, first, second, fold = answers(100 + seed)
        found = compare_scores(score(labels, first, fold, 6), score(labels, second, fold, 6))
        apart += found["p_value"] <= 0.05
        held += found["low"] <= 0 <= found["high"]
    assert apart <= 11  # at most 5 % and three standard errors
    assert held >= 89
