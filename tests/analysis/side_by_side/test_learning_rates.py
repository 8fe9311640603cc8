import numpy as np
import pytest

from analysis.side_by_side.learning_rates import learning_rate_curve, learning_rate_sensitivity
from tests.analysis.studies import grid, study_of


def study_where(effect: dict[float, float], other: dict[int, float], strategies=("freeze_all",)):
    """A grid in which both hyperparameters add to 0.5."""
    table = grid(learning_rate=list(effect), batch_size=list(other), strategy=list(strategies))
    params = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    curves = [[0.5 + effect[p["learning_rate"]] + other[p["batch_size"]]] * 2 for p in params]
    return study_of(params, curves)


EFFECT, OTHER = {1e-4: 0.0, 1e-3: 0.2, 1e-2: 0.05}, {32: 0.0, 64: 0.1}


def test_the_spread_holds_everything_else_fixed():
    row = learning_rate_sensitivity({"s": study_where(EFFECT, OTHER)}).iloc[0]
    assert (row["settings"], row["trials"], row["best_rate"], row["epochs"]) == (2, 6, "0.001", 2)
    assert row["spread"] == pytest.approx(0.2)
    assert row["spread_of_means"] == pytest.approx(0.2)


def test_the_curve_has_the_mean_of_each_rate():
    curve = learning_rate_curve({"s": study_where(EFFECT, OTHER)})
    assert curve["rate"].tolist() == pytest.approx([1e-4, 1e-3, 1e-2])
    assert curve["mean"].tolist() == pytest.approx([0.55, 0.75, 0.6])
    assert curve["best"].tolist() == pytest.approx([0.6, 0.8, 0.65])
    assert curve["low"].isna().all()  # two trials at each rate are too few


def test_strategies_are_apart_and_any_name_is_one():
    table = learning_rate_sensitivity({"s": study_where(EFFECT, OTHER, ("lp_ft", "bitfit"))})
    assert sorted(table["strategy"]) == ["bitfit", "lp_ft"]


def test_drawn_rates_have_ranges_and_no_spread_at_fixed_settings():
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -2, 40)
    params = [{"learning_rate": float(rate), "dropout": float(rng.random())} for rate in rates]
    study = study_of(params, [[0.5 + 0.1 * (np.log10(p["learning_rate"]) + 4)] for p in params])
    row = learning_rate_sensitivity({"s": study}).iloc[0]
    assert row["settings"] == 0
    assert np.isnan(row["spread"])
    assert 0.1 < row["spread_of_means"] < 0.2
    assert " to " in row["best_rate"]
    curve = learning_rate_curve({"s": study})
    assert curve["rate"].is_monotonic_increasing
    assert (curve["low"] < curve["mean"]).all()
    assert (curve["mean"] < curve["high"]).all()


def test_a_study_with_one_rate_or_none_is_left_out():
    one = study_of([{"learning_rate": 0.1, "x": 1}, {"learning_rate": 0.1, "x": 2}], [[0.5], [0.6]])
    none = study_of([{"x": 1}, {"x": 2}], [[0.5], [0.6]])
    assert len(learning_rate_curve({"one": one, "none": none})) == 0
    assert len(learning_rate_sensitivity({"one": one, "none": none})) == 0
