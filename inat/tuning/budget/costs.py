"""What the recipe costs at each image size, from measurements at one or two of them. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inat.tuning.budget.plan import SizeCost
from inat.tuning.network_timing import NetworkSpeed


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The recipe's network at ``image_size``: its operations, its speed in one slot, and with all cores."""

    image_size: int
    operations: int
    slot: NetworkSpeed
    alone: NetworkSpeed


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageCounts:
    """The images of each split."""

    train: int
    val: int
    test: int

    @property
    def refit(self) -> float:
        """How many times the images of a trial a training on the training and validation images has."""
        return (self.train + self.val) / max(1, self.train)


def cost_at(
    image_size: int,
    operations: Mapping[int, int],
    measured: Sequence[Measured],
    images: ImageCounts,
    *,
    contention: float,
    decode: float,
    wider: tuple[int, float] | None = None,
) -> SizeCost:
    """The cost of the recipe at ``image_size``, in proportion to its ``operations`` there.

    It is scaled from the nearest size that was ``measured``. ``decode`` are the seconds to decode all images;
    ``wider``: see SizeCost.
    """
    nearest = min(measured, key=lambda one: abs(math.log(one.image_size / image_size)))
    scale = operations[image_size] / nearest.operations
    return SizeCost(
        image_size=image_size,
        epoch=contention * scale * nearest.slot.epoch(images.train, images.val),
        alone=scale * nearest.alone.epoch(images.train, images.val),
        start=max(nearest.slot.start, nearest.alone.start),
        decode=decode,
        test=scale * images.test * nearest.alone.val_image,
        operations=operations[image_size],
        wider=wider,
    )
