import numpy as np
import pytest

OPTIMUM = (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)  # of the Hartmann function, as published


def point(*numbers: float) -> dict[str, float]:
    return {f"x{i}": number for i, number in enumerate(numbers)}


def test_hartmann_ends_at_its_known_optimum_and_rises_on_the_way(benchmark):
    spaces = benchmark("search_spaces")
    curve = spaces.hartmann_curve(point(*OPTIMUM))
    assert curve[-1] == pytest.approx(1.0, abs=1e-5)
    assert curve[0] < 0.9
    assert (np.diff(curve) >= 0).all()
    others = [spaces.hartmann_curve(point(*x))[-1] for x in np.random.default_rng(0).random((200, 6))]
    assert 0 <= min(others) < max(others) < 1


def test_the_noise_of_hartmann_belongs_to_the_configuration(benchmark):
    spaces = benchmark("search_spaces")
    first, again, other = (spaces.hartmann_curve(point(*OPTIMUM[:5], x)) for x in (0.65, 0.65, 0.6500001))
    assert (first == again).all()
    assert (first[:-1] != other[:-1]).any()


@pytest.mark.parametrize(("name", "count", "epochs"), [("boosting", 360, 27), ("mlp", 216, 27), ("digits", 648, 27)])
def test_every_configuration_has_a_recorded_curve_that_never_falls(benchmark, name, count, epochs):
    spaces = benchmark("search_spaces")
    curves = spaces.load_curves(name)
    assert len(curves) == count
    table = np.stack(list(curves.values()))
    assert table.shape == (count, epochs)
    assert (np.diff(table) >= 0).all()
    assert 0 <= table.min() < table.max() <= 1


def test_configurations_find_their_curves_by_their_values(benchmark):
    spaces = benchmark("search_spaces")
    boosting = spaces.load("boosting")
    params = {name: domain.sample() for name, domain in boosting.space.items()}
    assert boosting.curve(params)[-1] <= boosting.best
    assert boosting.budgets == (135, 270, 810)
