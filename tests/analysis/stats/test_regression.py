import numpy as np
import pytest

from analysis.stats.regression import fit_linear_model

RNG = np.random.default_rng(0)


def two_groups(first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Ones, and a column that marks the first group."""
    design = np.column_stack([np.ones(first + second), np.arange(first + second) < first]).astype(float)
    return design, RNG.normal(size=first + second)


def test_equal_groups_have_the_degrees_of_freedom_of_a_t_test():
    effect = fit_linear_model(*two_groups(10, 10)).contrast(np.array([0.0, 1.0]))
    assert effect.degrees_of_freedom == pytest.approx(18)


def test_a_small_group_has_few_degrees_of_freedom():
    """As in Welch's test, whose degrees of freedom are then close to those of the small group alone."""
    effect = fit_linear_model(*two_groups(4, 60)).contrast(np.array([0.0, 1.0]))
    assert 3 <= effect.degrees_of_freedom < 4


def test_degrees_of_freedom_are_those_of_the_formula_with_whole_matrices():
    design = np.column_stack([np.ones(40), RNG.normal(size=(40, 3)), RNG.integers(0, 2, (40, 3))])
    direction = np.eye(7)[5]
    found = fit_linear_model(design, RNG.normal(size=40)).contrast(direction).degrees_of_freedom
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    weights = design @ np.linalg.inv(design.T @ design) @ direction / (1 - np.diag(hat))
    rest = np.eye(40) - hat
    matrix = rest @ np.diag(weights**2) @ rest
    assert found == pytest.approx(np.trace(matrix) ** 2 / np.trace(matrix @ matrix))
    assert found < 40 - 7


def test_linearly_dependent_columns_change_nothing():
    design, results = two_groups(8, 20)
    twice = np.column_stack([design, 1 - design[:, 1]])
    one = fit_linear_model(design, results).contrast(np.array([0.0, 1.0]))
    other = fit_linear_model(twice, results).contrast(np.array([0.0, 1.0, -1.0]))
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_intervals_of_a_small_noisy_group_hold_the_truth():
    """5 trials of deviation 1 against 45 of deviation 0.1; with all 48 degrees of freedom, 92 % of them do."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        design, _ = two_groups(5, 45)
        results = rng.normal(size=50) * np.where(design[:, 1] > 0, 1.0, 0.1)
        effect = fit_linear_model(design, results).contrast(np.array([0.0, 1.0]))
        held += effect.low <= 0 <= effect.high
    assert held / 400 > 0.93
