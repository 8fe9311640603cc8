from dataclasses import replace

import numpy as np
import pytest

from analysis.side_by_side.equal_budgets import equal_budgets
from analysis.stats.expected_best import expected_best
from tests.analysis.studies import study_of


def study_with(values: list[float], epochs: int = 1, **param):
    return study_of([{"x": i, **param} for i in range(len(values))], [[v] * epochs for v in values])


def test_the_best_of_many_is_compared_at_the_number_of_the_few():
    rng = np.random.default_rng(0)
    many, few = rng.uniform(0.2, 0.8, 60), rng.uniform(0.4, 0.7, 6)
    table = equal_budgets({"many": study_with(many.tolist()), "few": study_with(few.tolist())}).set_index("study")
    assert table["equal_trials"].tolist() == [6, 6]
    assert table.at["few", "expected_best"] == few.max()
    assert table.at["many", "expected_best"] == pytest.approx(expected_best(many, 6))
    assert table.at["many", "expected_best"] < many.max()
    assert table.at["many", "low"] < table.at["many", "expected_best"] < table.at["many", "high"]


def test_equal_seconds_are_those_of_the_cheapest_row():
    slow = study_with([0.5, 0.6, 0.7, 0.8, 0.9], epochs=10)  # 20 s a trial
    fast = study_with([0.3, 0.4, 0.5, 0.6, 0.7, 0.8], epochs=5)  # 10 s a trial
    table = equal_budgets({"slow": slow, "fast": fast}).set_index("study")
    assert table["equal_seconds"].tolist() == [60.0, 60.0]
    assert table.at["fast", "best_within"] == pytest.approx(0.8)
    three = expected_best(np.array([0.5, 0.6, 0.7, 0.8, 0.9]), 3)
    assert table.at["slow", "best_within"] == pytest.approx(three, abs=0.02)


def test_a_loss_is_best_where_it_is_low():
    study = replace(study_with([0.9, 0.5, 0.7, 0.6, 0.8]), mode="min")
    row = equal_budgets({"loss": study}, trials=2).iloc[0]
    pairs = [min(a, b) for i, a in enumerate([0.9, 0.5, 0.7, 0.6, 0.8]) for b in [0.9, 0.5, 0.7, 0.6, 0.8][i + 1 :]]
    assert row["expected_best"] == pytest.approx(np.mean(pairs))
    assert row["low"] <= row["expected_best"] <= row["high"]


def test_each_strategy_is_a_row_and_too_few_trials_have_no_expected_best():
    params = [{"strategy": "lora"}] * 2 + [{"strategy": "freeze_all"}] * 5
    study = study_of(params, [[0.5], [0.6], [0.1], [0.2], [0.3], [0.4], [0.45]])
    table = equal_budgets({"s": study}, trials=4).set_index("strategy")
    assert np.isnan(table.at["lora", "expected_best"])
    assert table.at["freeze_all", "trials"] == 5
    assert table.at["freeze_all", "expected_best"] > 0.4


def test_failed_trials_do_not_count_as_results_but_their_time_does():
    states = ["completed"] * 5 + ["failed"]
    study = study_of([{"x": i} for i in range(6)], [[0.1], [0.2], [0.3], [0.4], [0.5], [0.99]], states)
    row = equal_budgets({"s": study}).iloc[0]
    assert (row["trials"], row["expected_best"], row["equal_seconds"]) == (5, 0.5, 12.0)
    assert row["best_within"] == pytest.approx(0.5)


def test_where_a_single_trial_may_take_longer_there_is_neither_value_nor_interval():
    slow = study_with([0.5, 0.6, 0.7, 0.8, 0.9, 0.9], epochs=100)
    fast = study_with([0.3, 0.4, 0.5, 0.6, 0.7, 0.8], epochs=1)
    row = equal_budgets({"slow": slow, "fast": fast}).set_index("study").loc["slow"]
    assert row[["best_within", "within_low", "within_high"]].isna().all()
    assert row["expected_best"] == 0.9
