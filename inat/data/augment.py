"""Augmentation of whole batches on their device, every image with its own random numbers, and normalisation.

The predecessor's steps: RandomResizedCrop, horizontal flip, ColorJitter(0.2, 0.2, 0.2, 0.1), RandomAffine(15 degrees,
translate 0.1, shear 10). Crop, flip and affine map are one bilinear resampling of the stored image, where torchvision
resamples twice, the second time to the nearest pixel. The colours come last, so that contrast is about the mean grey of
the turned picture. Random numbers come from torch's global generator of the images' device, so a seeded training
repeats itself.

Our own, because no library was fast enough: on 2 cores a batch of 64 at 64 px takes 6 ms here, 21 ms in kornia 0.9 and
61 ms in torchvision 0.29 image by image (benchmarks/augment.py), where all of a small network's step takes 36 ms.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.jitter import color_jitter

CROP_SCALE, CROP_RATIO, CROP_TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # those of torchvision's RandomResizedCrop
LIGHT_CROP_SCALE = (0.7, 1.0)  # for trainings too short to learn from slivers
DEGREES, TRANSLATE, SHEAR = 15.0, 0.1, 10.0


def augment(images: Tensor, aspects: Tensor, image_size: int, *, light: bool = False) -> Tensor:
    """Augmented copies (N, 3, image_size, image_size), float32 in 0..1.

    ``images`` (N, 3, S, S) uint8 are whole photographs squeezed into squares; ``aspects`` (N,) are their original
    width / height, so that crops have the shapes they would have in the originals. ``light`` crops less away and leaves
    out the affine map and the colours.
    """
    count, device = len(images), images.device
    centres, halves = random_crops(aspects, LIGHT_CROP_SCALE if light else CROP_SCALE)
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    halves = torch.stack([halves[:, 0] * mirror, halves[:, 1]], 1)
    if light:
        return resample(images, centres, halves, torch.eye(2, 3, device=device).expand(count, 2, 3), image_size)[0]
    crops, inside = resample(images, centres, halves, random_affines(count, device), image_size)
    return color_jitter(crops).mul_(inside.unsqueeze(1))  # torchvision's affine map comes last and fills with black


def resample(
    images: Tensor, centres: Tensor, halves: Tensor, affines: Tensor, image_size: int
) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, image_size, image_size), float32 in 0..1, of uint8 images, seen through affine maps of the crop.

    ``centres`` and ``halves`` (N, 2) are in coordinates of -1..1 across and down the image; a negative half mirrors.
    ``affines`` (N, 2, 3) map output to crop coordinates. The second result (N, image_size, image_size) says which
    pixels lie inside the crop; the others repeat its surroundings.
    """
    across, down = _positions(affines, image_size)
    inside = (across.abs() <= 1) & (down.abs() <= 1)
    grid = torch.stack([
        torch.addcmul(_column(centres[:, 0]), across, _column(halves[:, 0])),
        torch.addcmul(_column(centres[:, 1]), down, _column(halves[:, 1])),
    ], -1)  # fmt: skip
    crops = functional.grid_sample(scale_to_one(images), grid, padding_mode="border", align_corners=False)
    return crops, inside


def random_crops(aspects: Tensor, scale: tuple[float, float] = CROP_SCALE) -> tuple[Tensor, Tensor]:
    """Centres and half sides (N, 2) of random crops in coordinates of -1..1 across and down the photograph.

    The distribution of torchvision's RandomResizedCrop.get_params without its rounding to pixels: up to 10 tries of an
    area, a share of the whole one within ``scale``, and a ratio, the first that fits; else the central crop nearest to
    the allowed ratios.
    """
    shape, device = (len(aspects), CROP_TRIES), aspects.device
    area = torch.empty(shape, device=device).uniform_(*scale)
    ratio = torch.empty(shape, device=device).uniform_(*map(math.log, CROP_RATIO)).exp_() / aspects.unsqueeze(1)
    sides = torch.stack([(area * ratio).sqrt_(), (area / ratio).sqrt_()], -1)  # of the photograph's width and height
    fits = (sides <= 1).all(-1)
    first = fits.to(torch.uint8).argmax(1).view(-1, 1, 1).expand(-1, 1, 2)
    nearest = aspects.clamp(*CROP_RATIO) / aspects
    fallback = torch.stack([nearest.clamp(max=1), (1 / nearest).clamp(max=1)], 1)
    some = fits.any(1, keepdim=True)
    chosen = torch.where(some, sides.gather(1, first).squeeze(1), fallback)
    centres = (torch.rand(len(aspects), 2, device=device) * 2 - 1) * (1 - chosen)
    return torch.where(some, centres, 0.0), chosen


def random_affines(count: int, device: torch.device) -> Tensor:
    """Matrices (count, 2, 3) that map output to input coordinates of -1..1: the inverses of torchvision's RandomAffine.

    A rotation by up to 15 degrees, a shear along x by up to 10 and a shift by up to a tenth of the side, about the
    centre (the formula is that of torchvision's ``_get_inverse_affine_matrix`` with a shear along x alone).
    """
    draws = torch.rand(4, count, device=device) * 2 - 1
    angle, shear = draws[0] * math.radians(DEGREES), draws[1] * math.radians(SHEAR)
    shift = 2 * TRANSLATE * draws[2:]
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    # forward = rotation @ [[1, -tan], [0, 1]], whose determinant is 1
    inverse = torch.stack([cos - tan * sin, sin + tan * cos, -sin, cos], 1).view(-1, 2, 2)
    return torch.cat([inverse, -inverse @ shift.T.unsqueeze(-1)], 2)


def _positions(matrices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where each output pixel's centre comes from: across and down, each (N, size, size)."""
    centres = (torch.arange(size, device=matrices.device, dtype=torch.float32) * 2 + 1) / size - 1
    x, y = centres.view(1, 1, -1), centres.view(1, -1, 1)
    across, down = ((_column(m[:, 1]) * y + _column(m[:, 2])) + _column(m[:, 0]) * x for m in matrices.unbind(1))
    return across, down


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def scale_to_one(images: Tensor) -> Tensor:
    """uint8 images -> float32 in 0..1, as torchvision's ToTensor does it."""
    return images.to(torch.float32).div_(_statistics(images.device).full)


def normalise(images: Tensor) -> Tensor:
    """Images of 0..1 (N, 3, H, W), changed in place: ImageNet's mean subtracted, divided by its standard deviation.

    The same arithmetic in the same order as torchvision's Normalize, so the results are equal bit by bit.
    """
    statistics = _statistics(images.device)
    return images.sub_(statistics.mean).div_(statistics.std)


class Statistics(NamedTuple):
    """Of the colours, each (1 or 3, 1, 1); a plain number as divisor would be a product with its inverse on GPUs."""

    full: Tensor
    mean: Tensor
    std: Tensor


@lru_cache
def _statistics(device: torch.device) -> Statistics:
    # Kept, as sending them anew would make every step wait for the device.
    values = ((255.0,), IMAGENET_MEAN, IMAGENET_STD)
    return Statistics(*(torch.tensor(colours, device=device).view(-1, 1, 1) for colours in values))
