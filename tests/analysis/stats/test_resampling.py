import numpy as np
import pytest

from analysis.stats.resampling import bootstrap_means, holm, percentile_interval, t_interval


def test_holm_computed_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, float("nan"), 0.5])[0] == 1.0
    assert np.isnan(holm([0.9, float("nan"), 0.5])[1])
    assert holm([]) == []


@pytest.mark.parametrize("n", [6, 30])
def test_the_interval_of_a_mean_contains_the_truth(n):
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        low, high = percentile_interval(bootstrap_means(rng.normal(size=n), 400), n)
        inside += low <= 0 <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_too_few_values_have_no_interval():
    assert np.isnan(percentile_interval(bootstrap_means(np.array([0.1, 0.9, 0.5, 0.5])), 4)).all()
    assert np.isnan(t_interval(0.5, np.array([0.1, 0.2]))).all()
    assert np.isnan(percentile_interval(np.full(100, np.nan))).all()


def test_the_same_values_always_give_the_same_interval():
    values = np.random.default_rng(0).normal(size=20)
    assert percentile_interval(bootstrap_means(values), 20) == percentile_interval(bootstrap_means(values.copy()), 20)
