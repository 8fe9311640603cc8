import numpy as np
import pytest
from scipy import stats

from analysis.stats.effects import pairwise_effects, value_effects
from analysis.stats.regression import adjusted_effect
from tests.analysis.studies import confounded, factorial, grid, known_study, sample_of


def test_means_and_medians_are_those_of_pandas():
    sample = sample_of([0.1, 0.2, 0.6, 0.4, 0.5, 0.3], x=[1, 1, 2, 2, 2, 1])
    table = value_effects(sample).set_index("value")
    own = sample.trials.groupby("x")["accuracy"]
    assert table.loc["1", "mean"] == pytest.approx(own.mean()[1])
    assert table.loc["2", "median"] == pytest.approx(own.median()[2])
    assert table.loc["2", "best"] == 0.6
    assert table["trials"].tolist() == [3, 3]
    assert table["low"].isna().all()  # three trials have no interval


def test_pairs_are_tested_as_in_scipy_and_corrected_together():
    sample = confounded(60, 1)
    table = pairwise_effects(sample)
    assert len(table) == 1 + 1 + 3
    row = table[table["parameter"].eq("good")].iloc[0]
    accuracy, good = sample.trials["accuracy"], sample.trials["good"]
    assert row["value"] == "True"
    assert row["p"] == pytest.approx(stats.mannwhitneyu(accuracy[good], accuracy[~good]).pvalue)
    assert row["p_holm"] == pytest.approx(5 * table["p"].min())
    corrected = table["adjusted_p_holm"]
    assert corrected.iloc[0] == pytest.approx(5 * adjusted_effect(sample, good, ~good, ["good"]).p)
    assert row["superiority"] == pytest.approx(
        np.mean(accuracy[good].to_numpy()[:, None] > accuracy[~good].to_numpy()[None])
    )


def test_the_adjusted_effect_separates_correlated_parameters():
    table = value_effects(confounded(300, 2)).set_index(["parameter", "value"])
    plain = table.loc[("rider", "True"), "mean"] - table.loc[("rider", "False"), "mean"]
    assert plain > 0.05
    rider, good = table.loc[("rider", "True")], table.loc[("good", "True")]
    assert rider["adjusted_low"] < 0 < rider["adjusted_high"]
    assert good["adjusted_low"] < 0.1 < good["adjusted_high"]


def test_in_a_balanced_design_the_adjusted_effect_is_the_difference_of_means():
    columns = grid(x=["a", "b"], y=[1, 2, 3], again=list(range(4)))
    accuracy = np.random.default_rng(0).random(24)
    sample = sample_of(accuracy, **columns)
    first = np.array(columns["x"]) == "a"
    effect = adjusted_effect(sample, first, ~first, ["x"])
    assert effect.value == pytest.approx(accuracy[first].mean() - accuracy[~first].mean())
    assert effect.low < effect.value < effect.high


def test_the_effect_of_a_parameter_that_never_varied_alone_is_unknown():
    x = [True, False] * 15
    sample = sample_of(np.random.default_rng(0).random(30), x=x, twin=[not v for v in x])
    assert np.isnan(adjusted_effect(sample, np.array(x), ~np.array(x), ["x"]).value)


@pytest.mark.slow
def test_adjusted_intervals_contain_the_truth_of_known_networks():
    """15 searches of 60 of the 648 networks that prefer good ones; 95 % intervals for 4 hyperparameters."""
    networks = factorial()
    rng = np.random.default_rng(0)
    odds = np.exp(3 * networks["9"])  # a network at 0.98 is drawn 14 times as often as one at 0.1
    inside = []
    for _ in range(15):
        drawn = networks.iloc[rng.choice(len(networks), 60, replace=False, p=odds / odds.sum())]
        table = pairwise_of(drawn)
        for name in ("activation", "conv_layers", "filter_org", "first_layer_filters"):
            for row in table[table["parameter"].eq(name)].itertuples():
                text = networks[name].map(lambda v: f"{v:g}" if isinstance(v, int | float) else v)
                truth = networks.loc[text.eq(row.value), "3"].mean() - networks.loc[text.eq(row.other), "3"].mean()
                inside.append(row.adjusted_low <= truth <= row.adjusted_high)
    assert len(inside) == 15 * (6 + 3 + 3 + 3)
    assert 0.85 <= np.mean(inside) <= 0.99


def pairwise_of(networks):
    from analysis.comparable import sample_at

    return pairwise_effects(sample_at(known_study(networks, 3)))


@pytest.mark.parametrize("sample", [sample_of([0.5]), sample_of([0.5, 0.7], x=[1, 2])], ids=["one", "two"])
def test_few_trials_have_no_intervals(sample):
    assert value_effects(sample)["low"].isna().all()
    assert pairwise_effects(sample)["adjusted"].isna().all()
