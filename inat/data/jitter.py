"""Colour jitter of a batch, each image by its own factors; the arithmetic of torchvision's functional adjustments."""

import torch
from torch import Tensor

BRIGHTNESS = CONTRAST = SATURATION = 0.2
HUE = 0.1  # of a full turn
GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # those of torchvision's rgb_to_grayscale


def color_jitter(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) of 0..1, changed in place: brightness, contrast, saturation and hue in a random order.

    As torchvision's ColorJitter(0.2, 0.2, 0.2, 0.1), except that the order is drawn once a batch.
    """
    factors = torch.rand(4, len(images), 1, 1, 1, device=images.device) * 2 - 1
    steps = (
        lambda x: adjust_brightness(x, 1 + BRIGHTNESS * factors[0]),
        lambda x: adjust_contrast(x, 1 + CONTRAST * factors[1]),
        lambda x: adjust_saturation(x, 1 + SATURATION * factors[2]),
        lambda x: adjust_hue(x, HUE * factors[3]),
    )
    for i in torch.randperm(len(steps)).tolist():  # on the CPU, so that no device is waited for
        images = steps[i](images)
    return images


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by ``factors`` (N, 1, 1, 1), in place."""
    return images.mul_(factors).clamp_(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Move away from, or towards, the mean grey of each image, in place."""
    mean = _grey(images).mean((-2, -1), keepdim=True)
    return _blend(images, mean, factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Move away from, or towards, the grey copy of each image, in place."""
    return _blend(images, _grey(images), factors)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hues of HSV by ``turns`` (N, 1, 1, 1) of a circle, in place.

    Largest and smallest channel stay as they are, so HSV to RGB needs the hue h in 0..6 and these two alone:
    channel = min + (max - min) * share, and the share of R is |h - 3| - 1, of G 2 - |h - 2|, of B 2 - |h - 4|, each
    clamped to 0..1 (the trapezoids of https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB).
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)  # aminmax over three channels takes ten times as long
    low = torch.minimum(torch.minimum(red, green), blue)
    span = high - low
    is_red, is_green = high == red, high == green
    hue = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    # Where the span is 0 the hue does not matter; the small number only keeps 0 / 0 away.
    hue.div_(span.clamp(min=1e-12)).add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0)))
    hue.add_(6 * turns.squeeze(1)).remainder_(6)
    for channel, centre, slope, offset in ((red, 3, 1, -1), (green, 2, -1, 2), (blue, 4, -1, 2)):
        share = (hue - centre).abs_().mul_(slope).add_(offset).clamp_(0, 1)
        torch.addcmul(low, span, share, out=channel)
    return images


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    of_red, of_green, of_blue = GREY_WEIGHTS
    return (red * of_red).add_(green, alpha=of_green).add_(blue, alpha=of_blue).unsqueeze_(1)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    return images.mul_(factors).add_(other * (1 - factors)).clamp_(0, 1)
