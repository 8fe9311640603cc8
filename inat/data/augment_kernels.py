"""The published augmentation and the normalisation as Triton kernels: three launches a batch in place of some 150.

``crop_parameters`` turns random numbers into what the other two need, one program an image. ``grey_sums`` and
``write_images`` sample the pixels, change their colours and differ in what they keep: the first one adds up the greys
before the contrast step, as that needs the mean grey of the image; the second one writes normalised images. Sampling
twice moves fewer bytes than keeping the float32 images in between: a stored image has 8 bits a channel.

Formulas and their order are those of ``inat.data.augment``, which says where they come from. The host decides on the
order of the colour steps, so no launch waits for the device. Constants stand on the right of operators, as Triton's
interpreter wants, which runs the kernels in tests.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.augment import (
    COLOUR_STEPS,
    CROP_RATIO,
    CROP_SCALE,
    CROP_TRIES,
    DEGREES,
    GREY_WEIGHTS,
    LIGHT_CROP_SCALE,
    SHEAR,
    TRANSLATE,
)

BLOCK = 1024  # pixels of a program
SUMS = 64  # sums of an image that are read at once, at least: enough for 256 px, so smaller images share a kernel
PARAMETERS = 16  # of an image: centre, half sides, affine map (2, 3), strengths of the colour steps
# Columns of the random numbers of an image.
AREA, RATIO, PLACE = 0, CROP_TRIES, 2 * CROP_TRIES
MIRROR, AFFINE, COLOUR = PLACE + 2, PLACE + 3, PLACE + 7
NUMBERS = COLOUR + len(COLOUR_STEPS)  # of an image
# Without fused multiply-adds, which round less, pixels at the rim of a crop are on the same side as in plain torch.
LAUNCH = {"enable_fp_fusion": False, "num_warps": 8}

_TRIES, _COLUMNS = tl.constexpr(CROP_TRIES), tl.constexpr(NUMBERS)
_RATIO, _PLACE, _MIRROR = tl.constexpr(RATIO), tl.constexpr(PLACE), tl.constexpr(MIRROR)
_AFFINE, _COLOUR = tl.constexpr(AFFINE), tl.constexpr(COLOUR)
_LOG_LOW, _LOG_HIGH = (tl.constexpr(math.log(bound)) for bound in CROP_RATIO)
_LOW, _HIGH = (tl.constexpr(bound) for bound in CROP_RATIO)
_TURN, _SHEAR = tl.constexpr(math.radians(DEGREES)), tl.constexpr(math.radians(SHEAR))
_SHIFT = tl.constexpr(2 * TRANSLATE)
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = (tl.constexpr(change) for change in COLOUR_STEPS)
_RED, _GREEN, _BLUE = (tl.constexpr(weight) for weight in GREY_WEIGHTS)
_MEAN_R, _MEAN_G, _MEAN_B = (tl.constexpr(value) for value in IMAGENET_MEAN)
_STD_R, _STD_G, _STD_B = (tl.constexpr(value) for value in IMAGENET_STD)
_BLOCK, _PARAMETERS = tl.constexpr(BLOCK), tl.constexpr(PARAMETERS)


# Triton's own tl.sum and tl.min cannot be interpreted in a process that has imported them to be compiled.
@triton.jit
def add(a, b):
    return a + b


@triton.jit
def smaller(a, b):
    return tl.minimum(a, b)


@triton.jit
def crop_parameters(numbers, aspects, parameters, scale_low, scale_high, PUBLISHED: tl.constexpr):
    image = tl.program_id(0)
    row = numbers + image * _COLUMNS
    aspect = tl.load(aspects + image)
    tries = tl.arange(0, 16)
    known = tries < _TRIES
    area = tl.load(row + tries, mask=known, other=0.0) * (scale_high - scale_low) + scale_low
    log_ratio = tl.load(row + _RATIO + tries, mask=known, other=0.0) * (_LOG_HIGH - _LOG_LOW) + _LOG_LOW
    ratio = tl.div_rn(tl.exp(log_ratio), tl.full([16], 0.0, tl.float32) + aspect)
    width, height = tl.sqrt_rn(area * ratio), tl.sqrt_rn(tl.div_rn(area, ratio))
    first = tl.reduce(tl.where(known & (width <= 1) & (height <= 1), tries, 16), 0, smaller)
    nearest = tl.minimum(tl.maximum(aspect, _LOW), _HIGH) / aspect  # the central crop, if no try fits
    chosen_width = tl.where(
        first < 16, tl.reduce(tl.where(tries == first, width, 0.0), 0, add), tl.minimum(nearest, 1.0)
    )
    chosen_height = tl.where(
        first < 16, tl.reduce(tl.where(tries == first, height, 0.0), 0, add), tl.minimum(1.0 / nearest, 1.0)
    )
    across = (tl.load(row + _PLACE) * 2 - 1) * (1 - chosen_width)
    down = (tl.load(row + _PLACE + 1) * 2 - 1) * (1 - chosen_height)
    to = parameters + image * _PARAMETERS
    tl.store(to, tl.where(first < 16, across, 0.0))
    tl.store(to + 1, tl.where(first < 16, down, 0.0))
    tl.store(to + 2, tl.where(tl.load(row + _MIRROR) < 0.5, -chosen_width, chosen_width))
    tl.store(to + 3, chosen_height)
    if PUBLISHED:
        angle, shear = (tl.load(row + _AFFINE) * 2 - 1) * _TURN, (tl.load(row + _AFFINE + 1) * 2 - 1) * _SHEAR
        shift_x = (tl.load(row + _AFFINE + 2) * 2 - 1) * _SHIFT
        shift_y = (tl.load(row + _AFFINE + 3) * 2 - 1) * _SHIFT
        cos, sin, tan = tl.cos(angle), tl.sin(angle), tl.sin(shear) / tl.cos(shear)
        xx, xy = cos - tan * sin, sin + tan * cos
        tl.store(to + 4, xx)
        tl.store(to + 5, xy)
        tl.store(to + 6, -(xx * shift_x + xy * shift_y))
        tl.store(to + 7, -sin)
        tl.store(to + 8, cos)
        tl.store(to + 9, sin * shift_x - cos * shift_y)
        tl.store(to + 10, (tl.load(row + _COLOUR) * 2 - 1) * _BRIGHTNESS + 1)
        tl.store(to + 11, (tl.load(row + _COLOUR + 1) * 2 - 1) * _CONTRAST + 1)
        tl.store(to + 12, (tl.load(row + _COLOUR + 2) * 2 - 1) * _SATURATION + 1)
        tl.store(to + 13, (tl.load(row + _COLOUR + 3) * 2 - 1) * _HUE)


@triton.jit
def clamp_to_one(value):
    return tl.minimum(tl.maximum(value, 0.0), 1.0)


@triton.jit
def grey_of(red, green, blue):
    return red * _RED + green * _GREEN + blue * _BLUE


@triton.jit
def turn_hue(red, green, blue, turn):
    high = tl.maximum(tl.maximum(red, green), blue)
    low = tl.minimum(tl.minimum(red, green), blue)
    span = high - low
    is_red, is_green = high == red, high == green
    hue = tl.where(is_red, green - blue, tl.where(is_green, blue - red, red - green)) / tl.maximum(span, 1e-12)
    hue = hue + tl.where(is_red, 0.0, tl.where(is_green, 2.0, 4.0)) + 6 * turn
    hue = hue - 6 * tl.floor(hue / 6)
    red = low + span * clamp_to_one(tl.abs(hue - 3) - 1)
    green = low + span * clamp_to_one(2 - tl.abs(hue - 2))
    blue = low + span * clamp_to_one(2 - tl.abs(hue - 4))
    return red, green, blue


@triton.jit
def change_colours(red, green, blue, of, order, steps, mean_grey):
    """The first ``steps`` colour steps; two bits of ``order`` are the number of a step, the lowest are the first."""
    for i in range(4):
        # 4 is no step: Triton's interpreter takes no bound of a loop from memory with every version of numpy.
        step = tl.where(i < steps, (order >> (2 * i)) & 3, 4)
        if step == 3:
            red, green, blue = turn_hue(red, green, blue, tl.load(of + 13))
        elif step < 3:
            factor = tl.load(of + 10 + step)
            # Brightness blends with black, contrast with the mean grey, saturation with the grey of the pixel.
            other = tl.where(step == 2, grey_of(red, green, blue), tl.where(step == 1, mean_grey, 0.0)) * (1 - factor)
            red, green = clamp_to_one(red * factor + other), clamp_to_one(green * factor + other)
            blue = clamp_to_one(blue * factor + other)
    return red, green, blue


@triton.jit
def position(centre, half, at, side):
    """Nearest stored position in 0..side-1 of a crop coordinate, its integer part and that of the next pixel."""
    exact = (centre + at * half + 1) * (side * 0.5) - 0.5
    exact = tl.minimum(tl.maximum(exact, 0.0), side - 1.0)
    first = tl.floor(exact)
    return exact - first, first.to(tl.int32), tl.minimum(first.to(tl.int32) + 1, side - 1)


@triton.jit
def channel_at(upper, lower, x0, x1, share_x, share_y, channel, mask):
    """One channel between four stored pixels, in 0..1."""
    a = tl.load(upper + x0 + channel, mask=mask, other=0).to(tl.float32)
    b = tl.load(upper + x1 + channel, mask=mask, other=0).to(tl.float32)
    c = tl.load(lower + x0 + channel, mask=mask, other=0).to(tl.float32)
    d = tl.load(lower + x1 + channel, mask=mask, other=0).to(tl.float32)
    above, below = a * (1 - share_x) + b * share_x, c * (1 - share_x) + d * share_x
    return (above * (1 - share_y) + below * share_y) * (1 / 255)


@triton.jit
def sample(images, of, pixel, mask, image, side, size, PUBLISHED: tl.constexpr):
    """The channels of output pixels, and whether they are inside the crop."""
    scale = size.to(tl.float32)
    x = ((pixel % size) * 2 + 1).to(tl.float32) / scale - 1
    y = ((pixel // size) * 2 + 1).to(tl.float32) / scale - 1
    across, down = x, y
    if PUBLISHED:
        across = (tl.load(of + 5) * y + tl.load(of + 6)) + tl.load(of + 4) * x
        down = (tl.load(of + 8) * y + tl.load(of + 9)) + tl.load(of + 7) * x
    inside = (tl.abs(across) <= 1) & (tl.abs(down) <= 1)
    share_x, x0, x1 = position(tl.load(of), tl.load(of + 2), across, side)
    share_y, y0, y1 = position(tl.load(of + 1), tl.load(of + 3), down, side)
    first = images + image.to(tl.int64) * side * side * 3  # a batch may have more bytes than 32 bits can count
    upper, lower = first + y0 * side * 3, first + y1 * side * 3
    red = channel_at(upper, lower, x0 * 3, x1 * 3, share_x, share_y, 0, mask)
    green = channel_at(upper, lower, x0 * 3, x1 * 3, share_x, share_y, 1, mask)
    blue = channel_at(upper, lower, x0 * 3, x1 * 3, share_x, share_y, 2, mask)
    return red, green, blue, inside


@triton.jit(do_not_specialize=["order", "steps", "side", "size", "blocks"])
def grey_sums(images, parameters, sums, order, steps, side, size, blocks):
    image, block = tl.program_id(0), tl.program_id(1)
    pixel = block * _BLOCK + tl.arange(0, _BLOCK)
    mask, of = pixel < size * size, parameters + image * _PARAMETERS
    red, green, blue, _ = sample(images, of, pixel, mask, image, side, size, True)
    red, green, blue = change_colours(red, green, blue, of, order, steps, 0.0)
    grey = tl.where(mask, grey_of(red, green, blue), 0.0)
    tl.store(sums + image * blocks + block, tl.reduce(grey, 0, add))


@triton.jit(do_not_specialize=["order", "side", "size", "blocks"])
def write_images(
    images,
    parameters,
    sums,
    out,
    order,
    side,
    size,
    blocks,
    PUBLISHED: tl.constexpr,
    NORMALISED: tl.constexpr,
    SUMS: tl.constexpr,
):
    image, block = tl.program_id(0), tl.program_id(1)
    pixel = block * _BLOCK + tl.arange(0, _BLOCK)
    mask, of = pixel < size * size, parameters + image * _PARAMETERS
    red, green, blue, inside = sample(images, of, pixel, mask, image, side, size, PUBLISHED)
    if PUBLISHED:
        at = tl.arange(0, SUMS)
        total = tl.load(sums + image * blocks + at, mask=at < blocks, other=0.0)
        mean_grey = tl.reduce(total, 0, add) / (size * size)
        red, green, blue = change_colours(red, green, blue, of, order, 4, mean_grey)
        red, green, blue = tl.where(inside, red, 0.0), tl.where(inside, green, 0.0), tl.where(inside, blue, 0.0)
    to = out + (image.to(tl.int64) * size * size + pixel) * 3
    if NORMALISED:
        red, green, blue = (red - _MEAN_R) / _STD_R, (green - _MEAN_G) / _STD_G, (blue - _MEAN_B) / _STD_B
    tl.store(to, red, mask=mask)
    tl.store(to + 1, green, mask=mask)
    tl.store(to + 2, blue, mask=mask)


@triton.jit
def normalise_pixels(images, out, channels):
    """Every channel of stored pixels, with the bits of ``inat.data.augment.normalise``."""
    at = tl.program_id(0).to(tl.int64) * _BLOCK + tl.arange(0, _BLOCK)
    mask, channel = at < channels, at % 3
    value = tl.load(images + at, mask=mask, other=0).to(tl.float32)
    mean = tl.where(channel == 0, _MEAN_R, tl.where(channel == 1, _MEAN_G, _MEAN_B))
    deviation = tl.where(channel == 0, _STD_R, tl.where(channel == 1, _STD_G, _STD_B))
    full = tl.full([_BLOCK], 255.0, tl.float32)
    tl.store(out + at, tl.div_rn(tl.div_rn(value, full) - mean, deviation), mask=mask)


def launch_augment(
    images: Tensor, aspects: Tensor, numbers: Tensor, order: int, size: int, published: bool, normalised: bool
) -> Tensor:
    """Augmented images (N, size, size, 3) float32 of stored ones (N, S, S, 3) uint8, from random numbers."""
    count, side = images.shape[:2]
    blocks = triton.cdiv(size * size, BLOCK)
    parameters = torch.empty(count, PARAMETERS, device=images.device)
    sums = torch.empty(count, blocks if published else 0, device=images.device)
    out = torch.empty(count, size, size, 3, device=images.device)
    low, high = CROP_SCALE if published else LIGHT_CROP_SCALE
    crop_parameters[(count,)](numbers, aspects, parameters, low, high, published, **LAUNCH | {"num_warps": 1})
    grid = (count, blocks)
    if published:
        before_contrast = next(i for i in range(len(COLOUR_STEPS)) if (order >> 2 * i) & 3 == 1)
        grey_sums[grid](images, parameters, sums, order, before_contrast, side, size, blocks, **LAUNCH)
    of_image = max(SUMS, triton.next_power_of_2(blocks))
    write_images[grid](
        images, parameters, sums, out, order, side, size, blocks, published, normalised, of_image, **LAUNCH
    )
    return out


def launch_normalise(images: Tensor) -> Tensor:
    """Normalised images (N, S, S, 3) float32 of stored ones (N, S, S, 3) uint8."""
    out = torch.empty(images.shape, device=images.device)
    normalise_pixels[(triton.cdiv(images.numel(), BLOCK),)](images, out, images.numel(), **LAUNCH)
    return out
