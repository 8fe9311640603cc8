"""Augment whole batches on their device, each image with its own random numbers, and normalise them.

The steps are those published for nature_12K: RandomResizedCrop, horizontal flip, ColorJitter(0.2, 0.2, 0.2, 0.1),
RandomAffine(15 degrees, translate 0.1, shear 10). Crop, flip and affine map are one bilinear resampling of the stored
image; torchvision resamples twice, the second time to the nearest pixel. Colours come last, so contrast is relative to
the mean grey of the transformed image. Random numbers come from torch's global generator of the device, so a seeded
training repeats itself.

No library was fast enough: on 2 cores, a batch of 64 at 64 px takes 6 ms here, 21 ms in kornia 0.9 and 61 ms in
torchvision 0.29, image by image (benchmarks/augment.py). A whole training step of a small network takes 36 ms.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from inat.config.trial import LIGHT, PUBLISHED, SHIFT
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.random_operations import random_operations
from inat.data.shift import shift

CROP_SCALE, CROP_RATIO, CROP_TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # as in torchvision's RandomResizedCrop
LIGHT_CROP_SCALE = (0.7, 1.0)  # for trainings of too few epochs to learn from small crops
DEGREES, TRANSLATE, SHEAR = 15.0, 0.1, 10.0  # largest rotation, shift as a share of the side, shear in degrees
BRIGHTNESS = CONTRAST = SATURATION = 0.2
HUE = 0.1  # of a full turn
COLOUR_STEPS = (BRIGHTNESS, CONTRAST, SATURATION, HUE)  # by number, with the largest change that each makes
GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # of red, green and blue, as in torchvision's rgb_to_grayscale


def augment(images: Tensor, aspects: Tensor, image_size: int, *, policy: str = PUBLISHED) -> Tensor:
    """Augmented copies (N, 3, image_size, image_size), float32 in 0..1.

    ``images`` (N, 3, S, S) uint8 are whole images resized to squares; ``aspects`` (N,) are width / height of the
    originals, so that crops have the shapes that they would have in the originals. A ``policy`` other than "published"
    uses larger crops, no affine map and no colour changes, and then alters the images as its name says. "shift" takes
    images of S = image_size: see ``shift``.
    """
    if policy == SHIFT:
        return scale_to_one(shift(images, aspects))
    light = policy != PUBLISHED
    count, device = len(images), images.device
    centres, halves = random_crops(aspects, LIGHT_CROP_SCALE if light else CROP_SCALE)
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    halves = torch.stack([halves[:, 0] * mirror, halves[:, 1]], 1)
    if light:
        unturned = torch.eye(2, 3, device=device).expand(count, 2, 3)
        whole, _ = resample(images, centres, halves, unturned, image_size)
        return whole if policy == LIGHT else random_operations(whole, policy)
    crops, inside = resample(images, centres, halves, random_affines(count, device), image_size)
    return color_jitter(crops).mul_(inside.unsqueeze(1))  # torchvision's affine map comes last and fills with black


def random_crops(aspects: Tensor, scale: tuple[float, float] = CROP_SCALE) -> tuple[Tensor, Tensor]:
    """Centres and half sides (N, 2) of random crops, in coordinates of -1..1 across and down the image.

    The distribution is that of torchvision's RandomResizedCrop.get_params without rounding to pixels: the first of 10
    random areas (shares of the image within ``scale``) and ratios that fits into the image; else the central crop with
    the nearest allowed ratio.
    """
    shape, device = (len(aspects), CROP_TRIES), aspects.device
    area = torch.empty(shape, device=device).uniform_(*scale)
    log_ratio = torch.empty(shape, device=device).uniform_(*map(math.log, CROP_RATIO))
    return crops_of(area, log_ratio, torch.rand(len(aspects), 2, device=device), aspects)


def crops_of(area: Tensor, log_ratio: Tensor, place: Tensor, aspects: Tensor) -> tuple[Tensor, Tensor]:
    """The crops of ``random_crops`` from random numbers: areas and ratios (N, tries), places (N, 2) in 0..1."""
    ratio = log_ratio.exp() / aspects.unsqueeze(1)
    sides = torch.stack([(area * ratio).sqrt_(), (area / ratio).sqrt_()], -1)  # as shares of width and height
    fits = (sides <= 1).all(-1)
    first = fits.to(torch.uint8).argmax(1).view(-1, 1, 1).expand(-1, 1, 2)
    nearest = aspects.clamp(*CROP_RATIO) / aspects
    fallback = torch.stack([nearest.clamp(max=1), (1 / nearest).clamp(max=1)], 1)
    any_fits = fits.any(1, keepdim=True)
    chosen = torch.where(any_fits, sides.gather(1, first).squeeze(1), fallback)
    centres = (place * 2 - 1) * (1 - chosen)
    return torch.where(any_fits, centres, 0.0), chosen


def random_affines(count: int, device: torch.device) -> Tensor:
    """Matrices (count, 2, 3) from output to input coordinates of -1..1: the inverses of torchvision's RandomAffine.

    A rotation by up to 15 degrees, a shear along x by up to 10 degrees and a shift by up to a tenth of the side, about
    the centre. The formula is torchvision's ``_get_inverse_affine_matrix`` for a shear along x only.
    """
    return affines_of(torch.rand(4, count, device=device))


def affines_of(numbers: Tensor) -> Tensor:
    """The matrices of ``random_affines`` from random numbers (4, N) in 0..1."""
    draws = numbers * 2 - 1
    angle, shear = draws[0] * math.radians(DEGREES), draws[1] * math.radians(SHEAR)
    shift = 2 * TRANSLATE * draws[2:]
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    # forward = rotation @ [[1, -tan], [0, 1]], whose determinant is 1
    inverse = torch.stack([cos - tan * sin, sin + tan * cos, -sin, cos], 1).view(-1, 2, 2)
    return torch.cat([inverse, -inverse @ shift.T.unsqueeze(-1)], 2)


def resample(
    images: Tensor, centres: Tensor, halves: Tensor, affines: Tensor, image_size: int
) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, image_size, image_size), float32 in 0..1, of uint8 images, with an affine map within each crop.

    ``centres`` and ``halves`` (N, 2) are in coordinates of -1..1 across and down the image; a negative half mirrors.
    ``affines`` (N, 2, 3) map output to crop coordinates. The second result (N, image_size, image_size) is True for
    pixels inside the crop; the other pixels show what surrounds the crop.
    """
    across, down = _source_coordinates(affines, image_size)
    inside = (across.abs() <= 1) & (down.abs() <= 1)
    grid = torch.stack([
        torch.addcmul(_column(centres[:, 0]), across, _column(halves[:, 0])),
        torch.addcmul(_column(centres[:, 1]), down, _column(halves[:, 1])),
    ], -1)  # fmt: skip
    crops = functional.grid_sample(scale_to_one(images), grid, padding_mode="border", align_corners=False)
    return crops, inside


def _source_coordinates(matrices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Input coordinates across and down, each (N, size, size), of the centre of each output pixel."""
    centres = (torch.arange(size, device=matrices.device, dtype=torch.float32) * 2 + 1) / size - 1
    x, y = centres.view(1, 1, -1), centres.view(1, -1, 1)
    across, down = ((_column(m[:, 1]) * y + _column(m[:, 2])) + _column(m[:, 0]) * x for m in matrices.unbind(1))
    return across, down


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def color_jitter(images: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue of images (N, 3, H, W) in 0..1, in place and in random order.

    Equal to torchvision's ColorJitter(0.2, 0.2, 0.2, 0.1), except that the order is drawn once per batch.
    """
    numbers = torch.rand(len(COLOUR_STEPS), len(images), device=images.device)
    return jitter_by(images, numbers, random_order())


def random_order() -> list[int]:
    """A random order of the colour steps, drawn on the CPU, so that nothing waits for the device."""
    return torch.randperm(len(COLOUR_STEPS)).tolist()


def jitter_by(images: Tensor, numbers: Tensor, order: Sequence[int]) -> Tensor:
    """Apply the colour steps in ``order`` and in place, with strengths from random numbers (4, N) in 0..1."""
    factors = numbers.view(len(COLOUR_STEPS), -1, 1, 1, 1) * 2 - 1
    steps = (
        lambda x: adjust_brightness(x, 1 + BRIGHTNESS * factors[0]),
        lambda x: adjust_contrast(x, 1 + CONTRAST * factors[1]),
        lambda x: adjust_saturation(x, 1 + SATURATION * factors[2]),
        lambda x: adjust_hue(x, HUE * factors[3]),
    )
    for i in order:
        images = steps[i](images)
    return images


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply images by ``factors`` (N, 1, 1, 1), in place."""
    return images.mul_(factors).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the distance of each image from its mean grey by ``factors`` (N, 1, 1, 1), in place."""
    mean = _grey(images).mean((-2, -1), keepdim=True)
    return _blend(images, mean, factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Scale the distance of each image from its grey copy by ``factors`` (N, 1, 1, 1), in place."""
    return _blend(images, _grey(images), factors)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate the hues of HSV by ``turns`` (N, 1, 1, 1) of a full circle, in place.

    The largest and the smallest channel keep their values, so HSV to RGB needs only them and the hue h in 0..6:
    channel = min + (max - min) * share, where the share of R is |h - 3| - 1, of G 2 - |h - 2|, of B 2 - |h - 4|, each
    clamped to 0..1 (the trapezoids of https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB).
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)  # aminmax over three channels takes ten times as long
    low = torch.minimum(torch.minimum(red, green), blue)
    span = high - low
    is_red, is_green = high == red, high == green
    hue = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    # Where the span is 0 the hue does not matter; the small number only avoids 0 / 0.
    hue.div_(span.clamp(min=1e-12)).add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)))
    hue.add_(6 * turns.squeeze(1)).remainder_(6)
    for channel, centre, slope, offset in ((red, 3, 1, -1), (green, 2, -1, 2), (blue, 4, -1, 2)):
        share = (hue - centre).abs_().mul_(slope).add_(offset).clamp_(0, 1)
        torch.addcmul(low, span, share, out=channel)
    return images


def _grey(images: Tensor) -> Tensor:
    (red, green, blue), (red_weight, green_weight, blue_weight) = images.unbind(1), GREY_WEIGHTS
    return (red * red_weight).add_(green, alpha=green_weight).add_(blue, alpha=blue_weight).unsqueeze_(1)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    return images.mul_(factors).add_(other * (1 - factors)).clamp_(0, 1)


def scale_to_one(images: Tensor) -> Tensor:
    """Scale uint8 images to float32 in 0..1, with the bits of torchvision's ToTensor."""
    return images.to(torch.float32).div_(_channel_constants(images.device).full)


def normalise(images: Tensor) -> Tensor:
    """Subtract ImageNet's mean from images (N, 3, H, W) in 0..1 and divide by its standard deviation, in place.

    The arithmetic is that of torchvision's Normalize in the same order, so the results have the same bits.
    """
    constants = _channel_constants(images.device)
    return images.sub_(constants.mean).div_(constants.std)


class _ChannelConstants(NamedTuple):
    """Tensors (1 or 3, 1, 1) on one device.

    ``full`` is 255; GPUs would replace a division by a plain number by a product with its inverse, which differs in the
    last bit.
    """

    full: Tensor
    mean: Tensor
    std: Tensor


@lru_cache
def _channel_constants(device: torch.device) -> _ChannelConstants:
    # Cached, as sending them again in each step would make each step wait for the device.
    values = ((255.0,), IMAGENET_MEAN, IMAGENET_STD)
    return _ChannelConstants(*(torch.tensor(channels, device=device).view(-1, 1, 1) for channels in values))
