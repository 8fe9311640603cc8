"""The recipe of `--space modern`: one configuration that is right before any search, by rules from the task.

The parts are those of airbench (https://arxiv.org/abs/2404.00498), of timm's recipes and of "ResNet strikes back"
(https://arxiv.org/abs/2110.00476), as far as they help a small network in few epochs: docs/search/recipe.md says what
each part gives. All constants are here, each with its evidence.
"""

import math
from typing import Any

from inat.config.cnn import AVERAGE
from inat.config.optim import COSINE, MUON, TRAPEZOID
from inat.config.small_resnet import STEM_STRIDES, stages_for, stem_side
from inat.config.trial import SHIFT

# Network. The largest side in px of the stem's feature maps: larger images are taken every 2nd or 4th pixel. 1,450
# photos of 64 px, 12 epochs: stride 2 with 64, 128 and 256 filters 0.665 in 75 processor-seconds, stride 1 with 32, 64
# and 128 filters 0.632 in 86 (validation, 1 seed).
STEM_SIDE = 48
STEM_FILTERS = 32
LAST_FILTERS = 256  # of the last stage: three stages have 64, 128 and 256 filters
LEAST_WIDTH = 16
DEPTH = 2
# 1,815 photos of 64 px: average 0.740 and 0.725, maximum 0.696 and 0.692 (2 seeds); 10,000 images of CIFAR-10: 0.781
# and 0.783 (1 seed; validation).
POOLING = AVERAGE
ACTIVATION = "relu"
DROPOUT = 0.0

# Batch size: BATCH for a training that sees BATCH_SEEN images (images times epochs), and in proportion to their root:
# four times as many images are twice as many steps of twice the size. At 120,000: 128 0.783, 256 0.780 (CIFAR-10,
# validation, 1 seed).
BATCH, BATCH_SEEN = 128, 100_000
LEAST_BATCH, MOST_BATCH = 16, 512
# Augmentation holds float32 copies of twice the side: 310 MB for so many pixels, and some more while it works.
BATCH_PIXELS = 128 * 224**2

# Optimizer: Muon at RATE for batches of RATE_BATCH, growing slowly with the batch size; one cycle of warm-up and
# cosine. 10,000 images of CIFAR-10, 12 epochs, batch size 128: SGD 0.739, AdamW 0.771, Muon 0.779 (0.01) and 0.783
# (0.03); after 4 epochs 0.554, 0.571, 0.650 and 0.667. 1,815 photos of 64 px, batch size 64, a stem of stride 2: AdamW
# 0.639, Muon (0.03) 0.665 (validation, 1 seed).
OPTIMIZER = MUON
SCHEDULE = COSINE
RATE, RATE_BATCH, RATE_POWER = 0.03, 128, 0.25
WARMUP_SHARE = 0.2
DECAY_SHARE = 0.4  # of a trapezoid
# 0.05 gives nothing in 12 epochs: -0.5 points (-1.7 to 0.6; 1,815 photos of 64 px, 3 seeds), -0.3 on 8,000 images of
# CIFAR-10 (1 seed; validation).
WEIGHT_DECAY = 0.0
# 1,815 photos of 64 px: +1.1 points (0.5 to 1.7; 4 seeds, validation).
LABEL_SMOOTHING = 0.1
# The average of the weights is as good as the weights at the end, and far ahead of them where ASHA first compares:
# after 4 of 12 epochs 10 points (1,815 photos of 64 px, 3 seeds).
EMA_DECAY = 0.99

# Augmentation: shifts of a few pixels; mirror images in turn, not by chance, 0.792 against 0.783 (CIFAR-10, 10,000
# images, 12 epochs, validation, 2 seeds). Mixing never: few epochs see no image often enough to learn it by heart.
POLICY = SHIFT
MIXUP_ALPHA = CUTMIX_ALPHA = 0.0


def scratch_recipe(*, image_size: int, images: int, classes: int, epochs: int) -> dict[str, Any]:
    """The hyperparameters of a network for ``images`` training images of ``image_size`` px, trained for ``epochs``.

    With the settings of a study, they describe a training: ``TrialConfig.from_params({**settings, **recipe})``.

    >>> recipe = scratch_recipe(image_size=32, images=50_000, classes=10, epochs=10)
    >>> [recipe[name] for name in ("width", "depth", "stem_stride", "batch_size", "learning_rate")]
    [64, 2, 1, 256, 0.036]
    """
    stride, batch = stem_stride_for(image_size), batch_size_for(images, epochs, image_size)
    return {
        "width": width_for(image_size, stride),
        "depth": DEPTH,
        "stem_filters": STEM_FILTERS,
        "stem_stride": stride,
        "pooling": POOLING,
        "activation": ACTIVATION,
        "dropout": DROPOUT,
        "optimizer": OPTIMIZER,
        "schedule": SCHEDULE,
        "learning_rate": learning_rate_for(batch),
        "batch_size": batch,
        "warmup_share": WARMUP_SHARE,
        **({"decay_share": DECAY_SHARE} if SCHEDULE == TRAPEZOID else {}),
        "weight_decay": WEIGHT_DECAY,
        "label_smoothing": LABEL_SMOOTHING,
        "mixup_alpha": MIXUP_ALPHA,
        "cutmix_alpha": CUTMIX_ALPHA,
        "ema_decay": EMA_DECAY,
        "use_augmentation": True,
        "augmentation_policy": POLICY,
    }


def stem_stride_for(image_size: int) -> int:
    """The smallest stride of the stem whose feature maps have at most STEM_SIDE px; else the largest.

    >>> [stem_stride_for(side) for side in (32, 64, 96, 224, 512)]
    [1, 2, 2, 4, 4]
    """
    fitting = (stride for stride in STEM_STRIDES if stem_side(image_size, stride) <= STEM_SIDE)
    return next(fitting, STEM_STRIDES[-1])


def width_for(image_size: int, stem_stride: int) -> int:
    """The filters of the first stage, so that the last one has LAST_FILTERS.

    >>> [width_for(side, stem_stride_for(side)) for side in (16, 32, 64, 96, 512)]
    [128, 64, 64, 32, 16]
    """
    return max(LEAST_WIDTH, LAST_FILTERS >> (stages_for(image_size, stem_stride) - 1))


def batch_size_for(images: int, epochs: int, image_size: int) -> int:
    """The power of two that is nearest to BATCH times the root of the share of BATCH_SEEN; fewer of large images.

    >>> [batch_size_for(images, 12, 32) for images in (100, 1_500, 10_000, 50_000)]
    [16, 64, 128, 256]
    """
    wanted = max(1.0, BATCH * math.sqrt(images * epochs / BATCH_SEEN))
    return min(max(1 << round(math.log2(wanted)), LEAST_BATCH), MOST_BATCH, most_batch_for(image_size))


def most_batch_for(image_size: int) -> int:
    """The largest power of two of images that have BATCH_PIXELS together; at least LEAST_BATCH.

    >>> [most_batch_for(side) for side in (32, 64, 128, 224, 512)]
    [4096, 1024, 256, 128, 16]
    """
    fitting = max(1, BATCH_PIXELS // image_size**2)
    return max(LEAST_BATCH, 1 << (fitting.bit_length() - 1))


def learning_rate_for(batch_size: int) -> float:
    """RATE for batches of RATE_BATCH images, scaled with the batch size; two digits, as a person would write it.

    >>> [learning_rate_for(batch_size) for batch_size in (32, 128, 512)]
    [0.021, 0.03, 0.042]
    """
    return float(f"{RATE * (batch_size / RATE_BATCH) ** RATE_POWER:.2g}")
