import pytest

from inat.tuning.budget.costs import ImageCounts, Measured, cost_at
from inat.tuning.network_timing import NetworkSpeed

IMAGES = ImageCounts(train=1000, val=250, test=200)
OPERATIONS = {32: 100, 64: 400, 128: 1600}


def measured(side: int, train: float) -> Measured:
    slot, alone = NetworkSpeed(train, train / 4, 0.5), NetworkSpeed(train / 2, train / 8, 2.0)
    return Measured(image_size=side, operations=OPERATIONS[side], slot=slot, alone=alone)


def cost(side: int, *known: Measured, contention: float = 1.0):
    return cost_at(side, OPERATIONS, known, IMAGES, contention=contention, decode=3.0)


def test_a_measured_size_costs_what_was_measured():
    at = cost(64, measured(64, 0.01))
    assert at.epoch == pytest.approx(1000 * 0.01 + 250 * 0.0025)
    assert at.alone == pytest.approx(at.epoch / 2)
    assert at.test == pytest.approx(200 * 0.01 / 8)
    assert (at.start, at.decode, at.operations, at.image_size) == (2.0, 3.0, 400, 64)


def test_trials_side_by_side_slow_each_other_down_but_not_a_training_alone():
    alone, beside = cost(64, measured(64, 0.01)), cost(64, measured(64, 0.01), contention=1.2)
    assert beside.epoch == pytest.approx(1.2 * alone.epoch)
    assert beside.alone == alone.alone


def test_other_sizes_are_scaled_by_operations_from_the_nearest_measured_one():
    small, middle = measured(32, 0.004), measured(64, 0.01)
    assert cost(128, small, middle).epoch == pytest.approx(4 * cost(64, middle).epoch)
    assert cost(64, small, middle).epoch == cost(64, middle).epoch
    assert cost(64, small, measured(128, 0.1)).epoch == pytest.approx(4 * cost(32, small).epoch)
    assert cost(32, middle).epoch == pytest.approx(cost(64, middle).epoch / 4)
