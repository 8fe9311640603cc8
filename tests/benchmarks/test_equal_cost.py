from pathlib import Path

import pytest

ROWS = {
    (0, 4, 1): {"curve": [0.1, 0.2, 0.3, 0.4], "cpu": 4.0},
    (0, 8, 1): {"curve": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], "cpu": 8.0},
    (1, 4, 1): {"curve": [0.4, 0.5, 0.6, 0.7], "cpu": 16.0},
    (1, 2, 1): {"curve": [0.3, 0.5], "cpu": 8.0},
}


@pytest.fixture
def compared(benchmark):
    """The benchmark, its options, and two networks: a small one that needs its 8 epochs, and a large one.

    The large one is ahead at equal epochs only.
    """
    module = benchmark("equal_cost")
    networks = [module.Network({"width": 32, "depth": 1}, 0.5), module.Network({"width": 64, "depth": 2}, 2.0)]
    return module, module.Options(data=Path("photos"), epochs=4, rung=2, seeds=1), networks


def test_epochs_at_equal_cost_are_bounded(compared):
    module, options, networks = compared
    assert [network.epochs(options) for network in networks] == [8, 2]
    assert module.Network({}, 0.01).epochs(options) == 12
    assert module.Network({}, 100.0).epochs(options) == 1


@pytest.mark.parametrize(
    ("way", "values", "cost"),
    [("epochs", [0.4, 0.7], 20.0), ("epochs_rung", [0.2, 0.5], 10.0), ("cost", [0.8, 0.5], 16.0),
     ("cost_rung", [0.4, 0.3], 8.0)],
)  # fmt: skip
def test_each_way_compares_at_its_own_moment(compared, way, values, cost):
    module, options, networks = compared
    assert list(module.accuracies(options, networks, ROWS, way, 1)) == values
    assert module.seconds(options, networks, ROWS, way) == cost


def test_choosing_at_equal_epochs_loses_points_here(compared, capsys):
    module, options, networks = compared
    module.print_table(options, networks, ROWS)
    result = capsys.readouterr().out.splitlines()[-1]
    assert "epochs_rung_lost=30.00" in result
    assert "epochs_lost=30.00" in result
    assert "cost_rung_lost=0.00" in result
    assert "cost_cost=1.00" in result
