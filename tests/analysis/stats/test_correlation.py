import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats.correlation import correlations
from tests.analysis.studies import sample_of


def sample(n=40):
    rng = np.random.default_rng(3)
    lr, act = 10.0 ** -rng.integers(2, 5, n), rng.choice(["relu", "gelu", "silu"], n)
    return sample_of(np.log10(lr) * 0.1 + (act == "relu") * 0.2 + rng.normal(size=n) * 0.1, lr=lr, act=act)


def test_pearson_and_spearman_are_those_of_pandas_and_scipy():
    data = sample()
    found = correlations(data).set_index("column")
    accuracy = data.trials["accuracy"]
    one_hot = (
        pd.get_dummies(data.trials["act"], prefix="act", prefix_sep="=").astype(float).assign(lr=data.trials["lr"])
    )
    assert set(found.index) == set(one_hot)
    for name in one_hot:
        assert found.loc[name, "pearson"] == pytest.approx(one_hot[name].corr(accuracy))
        assert found.loc[name, "spearman"] == pytest.approx(stats.spearmanr(one_hot[name], accuracy).statistic)
        assert found.loc[name, "pearson_low"] < found.loc[name, "pearson"] < found.loc[name, "pearson_high"]
    assert found["trials"].eq(40).all()
    assert found["epochs"].eq(3).all()


def test_a_constant_metric_has_no_correlation():
    found = correlations(sample_of([0.5] * 10, x=list(range(10))))
    assert found[["pearson", "spearman", "pearson_low"]].isna().all(axis=None)


def test_without_varying_parameters_there_is_no_row():
    assert len(correlations(sample_of([0.5]))) == 0
