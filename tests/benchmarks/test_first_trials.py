import numpy as np
import pytest


def test_the_table_compares_each_kind_with_the_recipe(benchmark, capsys):
    module = benchmark("first_trials")
    options = module.Options(data=".", epochs=2, rung=1, count=3)
    near, recipe = [[0.4, 0.6], [0.5, 0.8], [0.3, 0.4]], [[0.4, 0.7]] * 3
    module.print_table(options, {"near": near, "random": [[0.1, 0.2], [0.2, 0.3], [0.3, 0.4]], "recipe": recipe})
    lines = capsys.readouterr().out.splitlines()
    assert "after epoch  2 near  : mean 0.6000, best 0.8000, 1 of 3 above the mean of the recipe" in lines
    assert "after epoch  1 random: mean 0.2000, best 0.3000, 0 of 3 above the mean of the recipe" in lines
    assert "gain_end=+30.00" in lines[-1]


def test_the_interval_is_in_points_and_holds_the_difference(benchmark):
    module = benchmark("first_trials")
    left, right = np.array([0.5, 0.6, 0.7]), np.array([0.2, 0.3, 0.4])
    low, high = module.difference(left, right)
    assert (low + high) / 2 == pytest.approx(30)
    assert 0 < low < 30 < high < 60
