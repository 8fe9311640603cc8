import numpy as np
import pandas as pd
import pytest

from analysis.stats.interaction import interactions, pair_table, top_pair
from analysis.stats.partial_dependence import partial_dependence
from tests.analysis.studies import grid, sample_of


def crossed(interaction=0.3, seed=0):
    rng = np.random.default_rng(seed)
    columns = grid(a=["u", "v"], b=[1, 2], c=["p", "q", "r"], again=list(range(8)))
    columns.pop("again")
    both = (np.array(columns["a"]) == "u") & (np.array(columns["b"]) == 2)
    accuracy = 0.4 + interaction * both + 0.1 * (np.array(columns["c"]) == "p") + rng.normal(size=96) * 0.03
    return sample_of(accuracy, **columns)


def test_the_interacting_pair_is_found():
    table = interactions(crossed())
    assert table.loc[0, ["first", "second"]].tolist() == ["a", "b"]
    assert table.loc[0, "p_holm"] < 1e-6
    assert table.loc[1:, "p_holm"].gt(0.05).all()
    cells = pair_table(crossed(), "a", "b").set_index(["a", "b"])
    assert cells["mean"].idxmax() == ("u", "2")
    assert cells["trials"].tolist() == [24] * 4
    assert cells.loc[("u", "2"), "low"] < 0.4 + 0.3 + 0.1 / 3 < cells.loc[("u", "2"), "high"]


def test_the_top_pair_is_the_first_tested_pair():
    sample = crossed()
    pd.testing.assert_frame_equal(top_pair(sample, interactions(sample)), pair_table(sample, "a", "b"))
    one = sample_of([0.1, 0.2], x=[1, 2])
    assert len(top_pair(one, interactions(one))) == 0


def test_without_an_interaction_none_is_found():
    assert interactions(crossed(0.0))["p_holm"].gt(0.05).all()


def test_the_interaction_of_parameters_that_only_varied_together_is_unknown():
    x = [1, 2] * 20
    table = interactions(sample_of(np.random.default_rng(0).random(40), x=x, twin=x))
    assert table["p"].isna().all()


def test_too_few_trials_or_parameters_for_interactions():
    assert interactions(sample_of([0.1, 0.2, 0.3], x=[1, 2, 1], y=[1, 1, 2]))["p"].isna().all()
    assert len(interactions(sample_of([0.1, 0.2], x=[1, 2]))) == 0


def test_partial_dependence_follows_the_effect():
    table = partial_dependence(crossed(0.0), ["c", "b"]).set_index(["parameter", "value"])
    assert table.loc[("c", "p"), "predicted"] - table.loc[("c", "q"), "predicted"] == pytest.approx(0.1, abs=0.03)
    assert table.loc[("b", "1"), "predicted"] == pytest.approx(table.loc[("b", "2"), "predicted"], abs=0.02)
    assert table["low"].lt(table["predicted"]).all()


def test_partial_dependence_over_decades():
    lr = 10 ** np.linspace(-5, -1, 50)
    table = partial_dependence(sample_of(np.log10(lr) / 10 + 0.6, lr=lr), ["lr"])
    assert len(table) == 9
    assert table["predicted"].is_monotonic_increasing
    assert len(partial_dependence(sample_of([0.5, 0.6], x=[1, 2]), ["x"])) == 0
