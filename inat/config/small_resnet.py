"""The settings of the small residual networks that are trained from scratch, and the rule for their stages."""

import math
from dataclasses import dataclass

from inat.config.cnn import ACTIVATIONS, AVERAGE, MAXIMUM, CNNConfig
from inat.config.validation import choice_errors, has_type, positive_errors, raise_if_any, range_errors, type_errors

LAST_SIDE = 4  # px of the feature maps before the global pooling, about
LEAST_STAGES, MOST_STAGES = 2, 5
STEM_STRIDES = (1, 2, 4)
MOST_CONVOLUTIONS = 16  # per stage: a checkpoint of a stranger must not ask for millions of layers
GLOBAL_POOLINGS = (AVERAGE, MAXIMUM)


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallResNetConfig:
    """A stem and two to five residual stages, which halve the image and double the filters, then a global pooling.

    The first stage has ``width`` filters. Each stage has ``depth`` convolutions, all but the first one of them inside
    a residual connection. The stem has ``stem_filters`` filters and takes every ``stem_stride``-th pixel. The number of
    stages follows from the size of the images: see ``stages_for``.
    """

    width: int
    stem_filters: int
    activation: str
    depth: int = 2
    stem_stride: int = 1
    pooling: str = MAXIMUM
    dropout: float = 0.0

    def __post_init__(self) -> None:
        problems = type_errors(self) + positive_errors(self, "width", "stem_filters", "depth")
        problems += range_errors(self, "dropout", 0, 1) + choice_errors(self, "activation", ACTIVATIONS)
        problems += choice_errors(self, "pooling", GLOBAL_POOLINGS)
        if has_type(self, "depth") and self.depth > MOST_CONVOLUTIONS:
            problems.append(f"depth must be at most {MOST_CONVOLUTIONS}, got {self.depth}")
        if has_type(self, "stem_stride") and self.stem_stride not in STEM_STRIDES:
            problems.append(f"stem_stride must be one of {', '.join(map(str, STEM_STRIDES))}, got {self.stem_stride}")
        raise_if_any(problems)

    def filters(self, image_size: int) -> tuple[int, ...]:
        """Number of filters of each stage."""
        return tuple(self.width * 2**i for i in range(stages_for(image_size, self.stem_stride)))


ScratchNetwork = CNNConfig | SmallResNetConfig  # a new network of this package, with random weights


def stages_for(image_size: int, stem_stride: int = 1) -> int:
    """How many stages halve the image until its feature maps have about LAST_SIDE px: at least 2, at most 5.

    >>> [stages_for(32), stages_for(64), stages_for(64, stem_stride=2), stages_for(224, stem_stride=4)]
    [3, 4, 3, 4]
    """
    halvings = round(math.log2(stem_side(image_size, stem_stride) / LAST_SIDE))
    return min(max(halvings, LEAST_STAGES), MOST_STAGES)


def stem_side(image_size: int, stem_stride: int) -> int:
    """Side of the feature maps of the stem."""
    return math.ceil(image_size / stem_stride)


def stem_errors(image_size: int, stem_stride: int) -> list[str]:
    """A message if the stages would leave no pixel of an image."""
    if stem_side(image_size, stem_stride) >= 2**LEAST_STAGES:
        return []
    least = stem_stride * (2**LEAST_STAGES - 1) + 1
    return [
        f"stem_stride={stem_stride} and {LEAST_STAGES} stages need images of at least {least} px, but they have "
        f"{image_size} px; lower stem_stride or raise image_size"
    ]
