"""The best of fewer trials: what a search would have found if it had been as small as another one.

The best of 480 trials beats the best of 20 by their number alone. Both become comparable as the expected best of the
same number of trials, or of as many as fit into the same time. Both count the trials in random order. A Bayesian search
finds better trials later, so what it finds with its first n trials is less than the expected best of n of its trials.
"""

import numpy as np
import numpy.typing as npt

from analysis.stats.resampling import SEED, Array, bootstrap_indices, percentile_interval

ROUNDS = 1000
ORDERS = 1000  # random orders of the trials, for the best within a time
SAMPLE_ORDERS = 50  # of each bootstrap sample
ENOUGH = 0.95  # share of these orders in which one trial at least must end within the time
ROUNDING = 1 + 1e-9  # the sum of all seconds depends on their order


def expected_best(values: Array, n: int) -> float:
    """The expected maximum of ``n`` trials drawn from all ``values`` without replacement; exact, not simulated.

    With x_1 <= ... <= x_N, x_i is the maximum if it is drawn and the other n - 1 are drawn from the i - 1 below it, so
    E = sum over i of x_i C(i - 1, n - 1) / C(N, n): the unbiased estimator of Tang et al., "Showing Your Work Doesn't
    Always Work" (ACL 2020), which improves on the biased one of Dodge et al., "Show Your Work" (EMNLP 2019).

    >>> round(expected_best(np.array([0.2, 0.4, 0.9]), 2), 6)  # the three pairs have the maxima 0.4, 0.9 and 0.9
    0.733333
    """
    return float(np.sort(values) @ _weights(len(values), n))


def _weights(total: int, n: int) -> Array:
    """The chance that each of ``total`` sorted values is the maximum of ``n``: C(i - 1, n - 1) / C(total, n)."""
    assert 1 <= n <= total, f"the best of {n} of {total} trials"
    # From the largest down, each weight is its neighbour's times (i - n) / (i - 1), so no binomial ever overflows.
    places = np.arange(total, 1, -1, dtype=float)
    shrinking = np.cumprod(np.maximum(places - n, 0) / (places - 1))
    weights: Array = n / total * np.concatenate([[1.0], shrinking])
    return weights[::-1]


def expected_best_interval(values: Array, n: int) -> tuple[float, float]:
    """A bootstrap interval of ``expected_best``, over the trials; NaN for fewer than MIN_VALUES of them.

    For ``n`` near the number of trials its upper end is the best value itself: no resampling shows a better one.
    """
    drawn = np.sort(values[bootstrap_indices(len(values), ROUNDS)], axis=1)
    return percentile_interval(drawn @ _weights(len(values), n), n=len(values))


def best_within(values: Array, seconds: Array, budget: float) -> float:
    """The mean over random orders of the best value among the trials that end within ``budget`` seconds.

    One trial after the other runs; the one that the budget ends in has no result. A NaN among ``values`` is a failed
    trial, which costs time for nothing. NaN if in too many orders (1 - ENOUGH) no trial ends. The orders are drawn with
    a fixed seed: the same table gives the same number.

    >>> round(best_within(np.array([0.2, 0.9]), np.array([10.0, 10.0]), budget=20), 6)
    0.9
    """
    reached = _best_in_orders(values, seconds, budget, random_orders(len(values)))
    ended = np.isfinite(reached)
    return float(reached[ended].mean()) if ended.mean() >= ENOUGH else float("nan")


def best_within_interval(values: Array, seconds: Array, budget: float) -> tuple[float, float]:
    """A bootstrap interval of ``best_within``, over the trials; NaN for fewer than MIN_VALUES of them."""
    orders = random_orders(len(values), SAMPLE_ORDERS)
    draws = []
    for rows in bootstrap_indices(len(values), ROUNDS):
        reached = _best_in_orders(values[rows], seconds[rows], budget, orders)
        ended = np.isfinite(reached)
        draws.append(reached[ended].mean() if ended.any() else np.nan)
    return percentile_interval(np.array(draws), n=len(values))


def _best_in_orders(values: Array, seconds: Array, budget: float, orders: npt.NDArray[np.int64]) -> Array:
    """The best value that each order reaches within ``budget``; -inf for an order in which no trial ends."""
    fits = np.cumsum(seconds[orders], axis=1) <= budget * ROUNDING
    ordered = values[orders]
    best: Array = np.where(fits & np.isfinite(ordered), ordered, -np.inf).max(axis=1)
    return best


def random_orders(n: int, orders: int = ORDERS) -> npt.NDArray[np.int64]:
    """Random orders of ``n`` trials; shape (orders, n)."""
    return np.random.default_rng(SEED).permuted(np.tile(np.arange(n), (orders, 1)), axis=1)
