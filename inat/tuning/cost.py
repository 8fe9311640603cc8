"""What a trial over a backbone costs, counted from the seconds that each of its stages takes for one photograph."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a backbone: seconds of a forward pass and bytes of its output, both for one photograph."""

    seconds: float
    bytes: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Network:
    """Its stages, and how many times as long as a forward pass a step of training takes."""

    stages: Sequence[Stage]
    step_factor: float


@dataclass(frozen=True, slots=True)
class Photos:
    """How many photographs a trial trains on and validates on."""

    train: int
    val: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Of trials that share kept features: ``feature_bytes`` and the seconds of ``building`` them are spent once.

    ``trial`` are the seconds of one trial that nothing stops, ``classic`` those of one that pushes every photograph
    through the whole network in every epoch.
    """

    trainable: int
    feature_bytes: int
    building: float
    trial: float
    classic: float


def cost_of(network: Network, frozen: int, photos: Photos, epochs: int, views: int, most_bytes: float) -> Cost:
    """The cost with the first ``frozen`` stages frozen and ``views`` copies of each training photograph kept.

    Nothing is kept for 0 views, nor above ``most_bytes``. Reading and augmenting photographs are not counted.
    """
    stages = network.stages
    prefix = sum(stage.seconds for stage in stages[:frozen])
    suffix = sum(stage.seconds for stage in stages[frozen:])
    training = epochs * (network.step_factor * photos.train + photos.val) * suffix
    classic = training + epochs * (photos.train + photos.val) * prefix
    trainable = sum(stage.parameters for stage in stages[frozen:])
    pushed = views * photos.train + photos.val
    size = pushed * stages[frozen - 1].bytes if frozen else 0
    if frozen == 0 or views == 0 or size > most_bytes:
        return Cost(trainable, 0, 0.0, classic, classic)
    return Cost(trainable, size, pushed * prefix, training, classic)
