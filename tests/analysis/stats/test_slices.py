import numpy as np
import pandas as pd
import pytest

from analysis.comparable import sample_at
from analysis.stats.slices import GRID, MAX_BUDGETS, cell_means, samples_at_budgets, smooth_surface
from tests.analysis.studies import early_stopped_study, sample_of, study_of


def test_a_larger_budget_has_only_the_trials_that_trained_for_it():
    study = early_stopped_study()
    first, second = samples_at_budgets(study, sample_at(study))
    assert (first.epochs, len(first)) == (3, 60)
    stopped = study.trials.loc[study.trials["state"].eq("stopped"), "trial_id"]
    assert (second.epochs, len(second)) == (9, 60 - len(stopped))
    assert not set(second.trials["trial_id"]) & set(stopped)


def test_a_budget_with_few_trials_cannot_be_chosen():
    study = early_stopped_study(trials=14)  # 7 of which trained for 9 epochs
    assert [one.epochs for one in samples_at_budgets(study, sample_at(study))] == [3]


def test_there_are_at_most_four_budgets_the_first_among_them():
    rng = np.random.default_rng(0)
    curves = rng.random((30, 81)).tolist()
    study = study_of([{"a": i} for i in range(30)], curves, grace_period=1, reduction_factor=2, max_epochs=81)
    sample = sample_at(study, 1)
    budgets = [one.epochs for one in samples_at_budgets(study, sample)]
    assert len(budgets) == MAX_BUDGETS
    assert budgets[0] == 1
    assert budgets[-1] == 81


def test_cells_have_the_mean_and_the_number_of_their_trials():
    sample = sample_of([0.1, 0.3, 0.5, 0.9], a=["x", "x", "y", "y"], b=[1, 1, 1, 2])
    table = cell_means(sample, "a", "b")
    assert table.values.tolist() == [["x", "1", 2, pytest.approx(0.2)], ["y", "1", 1, 0.5], ["y", "2", 1, 0.9]]


def test_a_surface_follows_the_results_and_is_empty_far_from_trials():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 1, (2, 400))
    corner = (x > 0.6) & (y > 0.6)
    x, y = x[~corner], y[~corner]  # nothing was tried in one corner
    columns, rows, means = smooth_surface(x, 10 * y, 2 * x)
    assert means.shape == (GRID, GRID)
    middle = np.abs(columns - 0.3).argmin()
    assert means[GRID // 3, middle] == pytest.approx(0.6, abs=0.1)
    assert np.isnan(means[-1, -1])
    assert np.isfinite(means[0]).all()
    assert rows[-1] == pytest.approx(10 * y.max())


def test_missing_values_are_a_cell_of_their_own():
    sample = sample_of([0.1, 0.3, 0.5], a=["x", "x", "y"], b=pd.array([1, None, 1], dtype="Int64"))
    assert cell_means(sample, "a", "b")["b"].tolist() == ["1", "(none)", "1"]
