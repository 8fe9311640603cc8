from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor

from analysis.stats.forest import TREES, forest_importance
from analysis.stats.importance import describe_ranking, importance, ranking_is_reliable, top_parameters, wandb_panel
from analysis.stats.optuna_importance import optuna_importance
from analysis.stats.resampling import bootstrap_indices
from tests.analysis.studies import confounded, sample_of

METHODS = {"impurity", "permutation", "fanova", "ped-anova"}


def three_parameters(n=60, signal=1.0):
    rng = np.random.default_rng(5)
    strong, weak, noise = rng.choice(["a", "b", "c"], n), rng.integers(0, 2, n).astype(bool), 1 + rng.random(n)
    accuracy = signal * (0.3 * (strong == "a") + 0.1 * weak) + rng.normal(size=n) * 0.02
    return sample_of(accuracy, strong=strong, weak=weak, noise=noise)


def test_impurity_importance_is_scikit_learns_and_sums_over_columns():
    sample = three_parameters()
    found = forest_importance(sample)
    encoded = pd.get_dummies(sample.trials[["strong", "weak"]], columns=["strong", "weak"]).astype(float)
    encoded["noise"] = sample.trials["noise"]
    model = RandomForestRegressor(TREES, random_state=0, oob_score=True).fit(encoded, sample.trials["accuracy"])
    assert found.columns["importance"].tolist() == pytest.approx(model.feature_importances_.tolist())
    assert found.r2 == pytest.approx(model.oob_score_)
    shares = found.shares[found.shares["method"].eq("impurity")].set_index("parameter")["importance"]
    assert shares["strong"] == pytest.approx(model.feature_importances_[:3].sum())
    assert shares.sum() == pytest.approx(1.0)


def test_every_method_finds_the_strong_parameter_and_permutation_is_zero_for_noise():
    sample = three_parameters()
    sample.trials["noise"] = np.arange(60) % 3  # PED-ANOVA overrates numbers with many values
    table = importance(sample).set_index(["method", "parameter"])
    assert set(table.index.get_level_values("method")) == METHODS
    for method in METHODS - {"ped-anova"}:
        assert table.loc[method]["importance"].idxmax() == "strong"
    # PED-ANOVA finds what the best tenth have in common: "a" and True.
    assert table.loc["ped-anova"]["importance"].idxmin() == "noise"
    noise = table.loc[("permutation", "noise")]
    assert noise["low"] <= 0.02
    assert noise["importance"] == pytest.approx(0, abs=0.03)
    assert table["trials"].eq(60).all()


def test_a_correlated_parameter_without_effect_is_not_important():
    found = forest_importance(confounded(200, 0)).shares
    permutation = found[found["method"].eq("permutation")].set_index("parameter")["importance"]
    assert permutation["good"] > 5 * abs(permutation["rider"])


def test_the_ranking_is_unreliable_without_a_signal():
    sample = three_parameters(signal=0.0)
    forest = forest_importance(sample)
    assert not ranking_is_reliable(forest)
    assert describe_ranking(forest, len(sample)).startswith("The trials cannot rank the hyperparameters (out-of-bag R²")
    # On the trials that the forest was fitted to, shuffling would cost most of R^2 here too.
    permutation = forest.shares.loc[forest.shares["method"].eq("permutation"), "importance"]
    assert permutation.max() < 0.2
    sample = three_parameters()
    forest = forest_importance(sample)
    assert ranking_is_reliable(forest)
    text = describe_ranking(forest, len(sample))
    assert text.startswith("The ranking of the hyperparameters is reliable (out-of-bag R² 0.9")


def test_the_order_of_unseen_trials_has_an_interval_that_decides_whether_the_ranking_is_reliable():
    sample = three_parameters()
    forest = forest_importance(sample)
    columns = pd.get_dummies(sample.trials[["strong", "weak"]], columns=["strong", "weak"]).astype(float)
    columns["noise"] = sample.trials["noise"]
    model = RandomForestRegressor(TREES, random_state=0, oob_score=True).fit(columns, sample.trials["accuracy"])
    order = spearmanr(model.oob_prediction_, sample.trials["accuracy"]).statistic
    assert forest.order == pytest.approx(order)
    results, drawn = sample.trials["accuracy"].to_numpy(), bootstrap_indices(60, 300)
    draws = [spearmanr(model.oob_prediction_[trials], results[trials]).statistic for trials in drawn]
    error = max(np.std(np.arctanh(draws), ddof=1), np.sqrt((1 + order**2 / 2) / 57))
    reach = 1.3 * 2.001 * error  # Student's t with 59 degrees of freedom
    assert [forest.low, forest.high] == pytest.approx(
        np.tanh([np.arctanh(order) - reach, np.arctanh(order) + reach]), abs=1e-4
    )
    text = f"rank correlation of predictions and results {order:.2f}, 95 % interval {forest.low:.2f} to "
    assert text in describe_ranking(forest, 60)
    chance = replace(forest, low=-0.01)
    assert not ranking_is_reliable(chance)
    assert describe_ranking(chance, 60).startswith("The ranking of the hyperparameters is uncertain (out-of-bag R² 0.9")


def test_the_top_parameters_are_those_of_permutation():
    methods = {"impurity": [9, 8, 7, 6, 5], "permutation": [0.1, 0.5, np.nan, 0.3, 0.2]}
    rows = [(m, p, i) for m, values in methods.items() for p, i in zip("abcde", values, strict=True)]
    table = pd.DataFrame(rows, columns=["method", "parameter", "importance"])
    assert top_parameters(table) == ["b", "d", "e", "a"]
    assert top_parameters(table, 1) == ["b"]
    assert top_parameters(importance(sample_of([0.5, 0.6], x=[1, 2]))) == []


def test_the_panel_has_importance_and_correlation_side_by_side():
    table = wandb_panel(three_parameters())
    assert table["column"].iloc[0] == "strong=a"
    strong = table[table["parameter"].eq("strong")]
    assert strong["parameter_importance"].iloc[0] == pytest.approx(strong["importance"].sum())
    assert strong.set_index("column").loc["strong=a", "pearson"] > 0.9


@pytest.mark.parametrize(
    "sample",
    [
        sample_of([0.5]),
        sample_of([0.5, 0.6], x=[1, 2]),
        sample_of([0.5] * 20, x=list(range(20))),
        sample_of(np.linspace(0, 1, 20)),
    ],
    ids=["one trial", "two trials", "constant metric", "nothing varies"],
)
def test_samples_without_information_have_no_importance(sample):
    forest = forest_importance(sample)
    table = importance(sample, forest)
    assert table["importance"].isna().all()
    assert not ranking_is_reliable(forest)
    assert describe_ranking(forest, len(sample)).startswith("The ranking of the hyperparameters is unknown")
    wandb_panel(sample, forest)


def test_a_parameter_with_missing_values():
    k = [np.nan, 1, 2] * 10
    sample = sample_of([0.1 if np.isnan(v) else 0.5 for v in k], k=k, other=list(range(30)))
    table = optuna_importance(sample).set_index(["method", "parameter"])["importance"]
    assert table["fanova", "k"] > 0.9
    assert forest_importance(sample).r2 > 0.9
