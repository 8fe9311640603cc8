import numpy as np
import pytest

from analysis.stats.best_epoch import best_epoch


def test_the_luck_of_the_best_of_equal_epochs_is_found():
    """Of 20 epochs of true accuracy 0.7, the best one seems better; the mean over 40 trainings tells by how much."""
    random = np.random.default_rng(0)
    found = [best_epoch(random.random((20, 200)) < 0.7, splits=50) for _ in range(40)]
    assert np.mean([one.chosen for one in found]) > 0.75
    assert np.mean([one.honest for one in found]) == pytest.approx(0.7, abs=0.01)


def test_an_epoch_that_is_truly_better_is_worth_its_score():
    right = np.random.default_rng(0).random((3, 400)) < np.array([[0.2], [0.9], [0.5]])
    found = best_epoch(right)
    assert found.chosen == right[1].mean()
    assert found.honest == pytest.approx(found.chosen)
    assert found.last == right[2].mean()


def test_a_single_epoch_is_never_lucky():
    right = np.random.default_rng(0).random((1, 31)) < 0.5
    assert best_epoch(right).optimism == pytest.approx(0, abs=1e-12)


def test_the_estimate_is_the_same_each_time():
    right = np.random.default_rng(0).random((9, 101)) < 0.6
    assert best_epoch(right) == best_epoch(right.copy())
