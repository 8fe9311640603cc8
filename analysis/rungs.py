"""Epochs at which ASHA compares trials; pure arithmetic, so that `inat` and `analysis` can share it."""

from typing import Any


def rung_milestones(grace: int, factor: int, max_epochs: int) -> list[int]:
    """Epochs of ASHA's rungs: ``grace * factor**k`` for k = 0, 1, ... as long as the epoch is below ``max_epochs``.

    >>> rung_milestones(grace=3, factor=3, max_epochs=27)
    [3, 9]
    """
    assert min(grace, factor - 1) > 0, f"grace {grace} and factor {factor} give no end of rungs"
    milestones = []
    epoch = grace
    while epoch < max_epochs:
        milestones.append(epoch)
        epoch *= factor
    return milestones


# An epoch of a larger network costs more, so trials may be compared at equal cost. The unit is then the cost of an
# epoch of the recipe. Nobody ends an epoch in the middle: a trial is compared at the nearest end of an epoch.


LEAST_EPOCH_COST, MOST_EPOCH_COST = 0.001, 1000.0  # of an epoch that a search can have


def epochs_at(cost: int, epoch_cost: float) -> int:
    """The epochs that come nearest to ``cost``, of which each costs ``epoch_cost``, to a thousandth; at least one.

    >>> [epochs_at(12, epoch_cost) for epoch_cost in (0.4, 1.0, 2.1, 40.0)]
    [30, 12, 6, 1]
    """
    each = _thousandths(epoch_cost)
    return max(1, -((each - 2000 * cost) // (2 * each)))  # the ceiling of cost / epoch_cost - 1/2


def cost_reached(epoch: Any, epoch_cost: float) -> Any:
    """The highest cost at which a trial can be compared after ``epoch``, a number or a column of numbers.

    >>> [cost_reached(6, epoch_cost) for epoch_cost in (0.4, 1.0, 2.1)]
    [2, 6, 13]
    """
    return (2 * epoch + 1) * _thousandths(epoch_cost) // 2000


def cost_within(epoch: int, epoch_cost: float) -> int:
    """The lowest cost whose ``epochs_at`` include ``epoch``.

    >>> [cost_within(6, epoch_cost) for epoch_cost in (0.4, 1.0, 2.1)]
    [3, 6, 12]
    """
    return epoch if epoch <= 1 else (2 * epoch - 1) * _thousandths(epoch_cost) // 2000 + 1


def _thousandths(epoch_cost: float) -> int:
    return max(1, round(1000 * epoch_cost))
