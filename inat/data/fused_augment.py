"""Prepare batches on a GPU in few kernels: crop, flip, turn, change colours and normalise at once, with Triton.

The random numbers of a batch are drawn in one call. From the same numbers, ``augment_plainly`` makes the same images
within rounding, in some 130 kernels of torch; it takes over where Triton does not work, so a training draws the same
crops either way. Triton compiles each kernel once per process, for all sizes of images and batches.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from inat.config.trial import LIGHT, PUBLISHED, SHIFT
from inat.data.augment import (
    COLOUR_STEPS,
    CROP_RATIO,
    CROP_SCALE,
    CROP_TRIES,
    LIGHT_CROP_SCALE,
    affines_of,
    crops_of,
    jitter_by,
    normalise,
    random_order,
    resample,
    scale_to_one,
)
from inat.data.random_operations import random_operations
from inat.data.shift import shift

# How many random numbers an image takes: areas, ratios, place, mirror, affine map, strengths of the colour steps.
PARTS = (CROP_TRIES, CROP_TRIES, 2, 1, 4, len(COLOUR_STEPS))
NUMBERS = sum(PARTS)
# How the kernels are tried: images, stored side, augmented side; the largest usual difference from plain torch, in
# standard deviations; and the share of pixels that may differ more, as their centres lie on the rim of a crop.
TRIED, STORED_SIDE, SIDE = 8, 40, 24
TOLERANCE, ODD_SHARE = 1e-3, 0.01
NO_TRITON = "Triton is not installed"


def prepare_on_gpu(images: Tensor, aspects: Tensor | None, size: int, policy: str) -> Tensor:
    """Normalised images (N, 3, size, size) float32, in channels last, of stored images (N, 3, S, S) uint8 on a GPU.

    With ``aspects`` they are augmented as ``inat.data.augment.augment`` does. Nothing waits for the GPU.
    """
    # Tensors of another type stand for a GPU in tests; nothing can be tried with them.
    plain = bool(why_plain(images.device) if type(images) is Tensor else _without_triton())
    if aspects is not None and policy == SHIFT:
        images, aspects = shift(images, aspects), None  # still uint8: a quarter of the bytes
    if aspects is None:
        normalised: Tensor = _plainly_normalised(images) if plain else _normalise(_rows(images)).permute(0, 3, 1, 2)
        return normalised
    published, last = policy == PUBLISHED, policy in (PUBLISHED, LIGHT)
    numbers = torch.rand(len(images), NUMBERS, device=images.device)
    order = random_order() if published else []
    if plain:
        augmented = augment_plainly(images, aspects, numbers, order, size)
    else:
        rows: Tensor = _augment(_rows(images), aspects, numbers, packed(order), size, published, last)
        augmented = rows.permute(0, 3, 1, 2)
        if last:
            return augmented
    augmented = augmented if last else random_operations(augmented, policy)
    return normalise(augmented.contiguous(memory_format=torch.channels_last))


def augment_plainly(images: Tensor, aspects: Tensor, numbers: Tensor, order: Sequence[int], size: int) -> Tensor:
    """Augmented images (N, 3, size, size), float32 in 0..1, from random ``numbers`` (N, NUMBERS) in 0..1.

    Without an ``order`` of the colour steps, the crops are larger, and neither turned nor changed in colour.
    """
    area, ratio, place, mirror, affine, colour = numbers.split(PARTS, 1)
    low, high = CROP_SCALE if order else LIGHT_CROP_SCALE
    log_low, log_high = (math.log(bound) for bound in CROP_RATIO)
    area, log_ratio = area * (high - low) + low, ratio * (log_high - log_low) + log_low
    centres, halves = crops_of(area, log_ratio, place, aspects)
    halves = torch.cat([torch.where(mirror < 0.5, -halves[:, :1], halves[:, :1]), halves[:, 1:]], 1)
    if not order:
        unturned = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
        return resample(images, centres, halves, unturned, size)[0]
    crops, inside = resample(images, centres, halves, affines_of(affine.T), size)
    return jitter_by(crops, colour.T, order).mul_(inside.unsqueeze(1))


def packed(order: Sequence[int]) -> int:
    """The order of the colour steps as one number, two bits a step, the first step lowest.

    >>> bin(packed([3, 0, 2, 1]))
    '0b1100011'
    """
    return sum(step << 2 * place for place, step in enumerate(order))


def why_plain(device: torch.device) -> str:
    """Why batches on this GPU are prepared with plain torch; "" if Triton's kernels work there.

    The kernels are tried once per process: a driver, a GPU or a C compiler that Triton cannot use costs time, but no
    training. Only if the GPU is full, the next training tries them again. The global random numbers are left alone.
    """
    try:
        return _why_plain(torch.device(device.type))
    except torch.OutOfMemoryError:
        return "the GPU had no memory to try Triton's kernels"


@lru_cache
def _why_plain(device: torch.device) -> str:
    if reason := _without_triton():
        return reason
    try:
        with torch.autocast(device.type, enabled=False):  # features are computed under it, in 16 bit
            odd = _odd_share(device)
    except torch.OutOfMemoryError:
        raise  # which is not kept for later trainings
    except Exception as error:  # Triton fails with errors of many types: of its own, of the compiler, of the driver
        return f"Triton fails with {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return "" if odd <= ODD_SHARE else f"Triton's kernels made other images ({odd:.0%} of the pixels)"


def _without_triton() -> str:
    return "" if find_spec("triton") else NO_TRITON


def _odd_share(device: torch.device) -> float:
    """Share of the pixels that Triton's kernels make otherwise than plain torch, for small random images."""
    random = torch.Generator(device).manual_seed(0)
    stored = (TRIED, STORED_SIDE, STORED_SIDE, 3)
    rows = torch.randint(0, 256, stored, dtype=torch.uint8, device=device, generator=random)
    numbers = torch.rand(TRIED, NUMBERS, device=device, generator=random)
    aspects, images, order = numbers[:, 0] + 0.5, rows.permute(0, 3, 1, 2), [2, 0, 1, 3]
    expected = normalise(augment_plainly(images, aspects, numbers, order, SIDE))
    found = _augment(rows, aspects, numbers, packed(order), SIDE, True, True).permute(0, 3, 1, 2)
    odd = (found - expected).abs() > TOLERANCE
    same = torch.equal(_normalise(rows).permute(0, 3, 1, 2), _plainly_normalised(images))
    return float(odd.float().mean()) if same else 1.0


def _plainly_normalised(images: Tensor) -> Tensor:
    return normalise(scale_to_one(images).contiguous(memory_format=torch.channels_last))


def _rows(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).contiguous()  # no copy: batches are gathered in channels last


# As operators of torch, so that they also take fake tensors, with which kernels are counted without a GPU.
@torch.library.custom_op("inat::augment", mutates_args=(), device_types="cuda")
def _augment(
    images: Tensor, aspects: Tensor, numbers: Tensor, order: int, size: int, published: bool, normalised: bool
) -> Tensor:
    from inat.data.augment_kernels import launch_augment

    with torch.cuda.device(images.device):
        return launch_augment(images, aspects, numbers, order, size, published, normalised)


@_augment.register_fake
def _augmented_shape(
    images: Tensor, aspects: Tensor, numbers: Tensor, order: int, size: int, published: bool, normalised: bool
) -> Tensor:
    return images.new_empty((len(images), size, size, 3), dtype=torch.float32)


@torch.library.custom_op("inat::normalise", mutates_args=(), device_types="cuda")
def _normalise(images: Tensor) -> Tensor:
    from inat.data.augment_kernels import launch_normalise

    with torch.cuda.device(images.device):
        return launch_normalise(images)


@_normalise.register_fake
def _normalised_shape(images: Tensor) -> Tensor:
    return images.new_empty(images.shape, dtype=torch.float32)
