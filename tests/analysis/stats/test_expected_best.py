"""The expected best of fewer trials, against all subsets and all orders."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats import expected_best as module
from analysis.stats.expected_best import best_within, best_within_interval, expected_best, expected_best_interval

VALUES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=40).map(np.array)


@pytest.mark.parametrize("n", range(1, 8))
def test_it_is_the_mean_of_the_maxima_of_all_subsets(n):
    values = np.array([0.31, 0.44, 0.44, 0.12, 0.9, 0.55, 0.07])
    maxima = [max(subset) for subset in itertools.combinations(values, n)]
    assert len(maxima) == comb(7, n)
    assert expected_best(values, n) == pytest.approx(np.mean(maxima), abs=1e-12)


@given(VALUES, st.data())
def test_more_trials_are_never_worse_and_the_ends_are_mean_and_maximum(values, data):
    n = data.draw(st.integers(1, len(values)))
    best = expected_best(values, n)
    assert expected_best(values, 1) == pytest.approx(values.mean(), abs=1e-12)
    assert expected_best(values, len(values)) == pytest.approx(values.max(), abs=1e-12)
    assert values.mean() - 1e-12 <= best <= values.max() + 1e-12
    if n < len(values):
        assert best <= expected_best(values, n + 1) + 1e-12


@given(VALUES, st.data())
def test_it_follows_shifts_and_scales_and_ignores_the_order(values, data):
    n = data.draw(st.integers(1, len(values)))
    shuffled = np.array(data.draw(st.permutations(values.tolist())))
    assert expected_best(3 * shuffled - 1, n) == pytest.approx(3 * expected_best(values, n) - 1, abs=1e-9)


def test_the_best_of_20_among_480_is_far_below_the_best_of_480():
    values = np.sort(np.random.default_rng(1).random(480))
    exact = sum(values[i] * comb(i, 19) for i in range(480)) / comb(480, 20)  # integers of any size
    assert expected_best(values, 20) == pytest.approx(float(exact), abs=1e-12)
    assert expected_best(values, 20) == pytest.approx(20 / 21, abs=0.02)  # of uniform values
    assert expected_best(values, 480) > 0.99


def test_intervals_hold_the_value_and_need_five_trials():
    values = np.random.default_rng(0).random(30)
    low, high = expected_best_interval(values, 5)
    assert low < expected_best(values, 5) < high <= values.max()
    assert np.isnan(expected_best_interval(values[:4], 2)).all()


def test_the_interval_covers_the_truth_in_about_95_of_100_searches():
    rng = np.random.default_rng(7)
    truth = 5 / 6  # expected maximum of five uniform values
    ends = [expected_best_interval(rng.random(30), 5) for _ in range(100)]
    covered = sum(low <= truth <= high for low, high in ends)
    assert 88 <= covered <= 100


def test_within_the_time_of_two_equal_trials_it_is_the_expected_best_of_two():
    values, seconds = np.array([0.2, 0.5, 0.9, 0.4]), np.full(4, 10.0)
    assert best_within(values, seconds, 20) == pytest.approx(expected_best(values, 2), abs=0.02)
    assert best_within(values, seconds, 40) == pytest.approx(0.9)


def test_within_a_time_it_is_the_mean_over_all_orders(monkeypatch):
    values, seconds = np.array([0.3, 0.8, np.nan, 0.5]), np.array([1.0, 5.0, 2.0, 3.0])
    orders = np.array(list(itertools.permutations(range(4))))
    monkeypatch.setattr(module, "random_orders", lambda *_: orders)
    best = []
    for order in orders:
        spent, found = 0.0, []
        for i in order:
            spent += seconds[i]
            found += [values[i]] if spent <= 7 and not np.isnan(values[i]) else []
        best.append(max(found))  # every order ends a trial within 7 seconds
    assert best_within(values, seconds, 7) == pytest.approx(np.mean(best))


def test_a_time_in_which_no_trial_surely_ends_has_no_best():
    values, seconds = np.array([0.3, 0.8]), np.array([1.0, 100.0])
    assert np.isnan(best_within(values, seconds, 10))
    assert np.isnan(best_within(np.array([0.3]), np.array([5.0]), 4.9))


def test_a_failed_trial_costs_time_for_nothing():
    values, seconds = np.array([0.9, np.nan]), np.array([10.0, 10.0])
    assert np.isnan(best_within(values, seconds, 10))
    assert best_within(values, seconds, 20) == pytest.approx(0.9)


def test_the_interval_within_a_time_holds_its_value():
    rng = np.random.default_rng(3)
    values, seconds = rng.random(20), rng.uniform(1, 3, 20)
    low, high = best_within_interval(values, seconds, 8)
    assert low < best_within(values, seconds, 8) < high
