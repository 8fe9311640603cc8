import math

import numpy as np
import pytest

from benchmarks.rung_ranks import correlation, correlation_gain, halving_choice, lost_points, mean_loss, spearman

FINAL = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def test_correlation_is_about_ranks():
    assert spearman(FINAL**3, FINAL) == pytest.approx(1)
    assert spearman(-FINAL, FINAL) == pytest.approx(-1)
    assert math.isnan(spearman(np.ones(9), FINAL))


def test_interval_holds_the_correlation_and_is_missing_for_few_configurations():
    rung = FINAL + np.array([0.3, -0.2, 0.1, 0.2, -0.1, 0.05, -0.3, 0.1, -0.1])
    found = correlation(rung, FINAL)
    assert -1 <= found.low < found.value < found.high <= 1
    assert math.isnan(correlation(rung[:4], FINAL[:4]).low)
    assert "(" not in correlation(rung[:4], FINAL[:4]).text()


def test_gain_over_the_same_way_is_zero():
    gain = correlation_gain(FINAL[::-1], FINAL, FINAL[::-1], FINAL)
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    better = correlation_gain(FINAL, FINAL, FINAL[::-1], FINAL)
    assert better.value == pytest.approx(2)


def test_halving_keeps_the_best_of_each_rung():
    first = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1.0])  # keeps configurations 0, 1, 2
    second = np.array([1, 2, 3, 9, 9, 9, 9, 9, 9.0])  # of these keeps 2
    assert halving_choice([first], FINAL, 3) == 2
    assert halving_choice([first, second], FINAL, 3) == 2
    assert halving_choice([first, -second], FINAL, 3) == 0
    assert halving_choice([first], FINAL, 2) == 4  # half of nine, rounded up
    assert lost_points([first], FINAL, 3) == pytest.approx(60)


def test_perfect_rungs_lose_nothing():
    found = mean_loss([FINAL, FINAL], FINAL, 3)
    assert (found.value, found.low, found.high) == (0, 0, 0)
