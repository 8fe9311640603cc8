"""Alter whole training batches after their augmentation: random erasing, mixup and CutMix.

Random erasing: https://arxiv.org/abs/1708.04896, mixup: https://arxiv.org/abs/1710.09412, CutMix:
https://arxiv.org/abs/1905.04899.

Mixup and CutMix are torchvision's, which take batches. torchvision's RandomErasing would erase the same rectangle of
every image of a batch, so erasing is implemented here, with the same distribution.
"""

import math

import torch
from torch import Tensor
from torchvision.transforms import v2

from inat.config.optim import OptimConfig

ERASED_SHARE, ERASED_RATIO, ERASE_TRIES = (0.02, 0.33), (0.3, 3.3), 10  # as in torchvision's RandomErasing


class BatchMixing:
    """Apply what ``optim`` switches on to training batches; if nothing is on, return batches as they are.

    If both mixup and CutMix are on, each batch gets one of them with equal probability. Random numbers come from
    torch's global generators, so a seeded training repeats itself.
    """

    def __init__(self, optim: OptimConfig, num_classes: int) -> None:
        self.random_erasing = optim.random_erasing
        kinds = ((v2.MixUp, optim.mixup_alpha), (v2.CutMix, optim.cutmix_alpha))
        self.mixings = [kind(alpha=alpha, num_classes=num_classes) for kind, alpha in kinds if alpha]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Input: normalised images (N, 3, H, W) and labels (N,). Output: images and labels, after mixing (N, classes).

        In place of images, mixup also takes features (N, width), the input of a head that trains alone.

        The class shares in a row of mixed labels add up to 1.
        """
        if self.random_erasing:
            images = erase(images, self.random_erasing)
        if self.mixings:
            chosen = self.mixings[int(torch.randint(len(self.mixings), ()))]  # on the CPU, where torchvision draws too
            shape = images.shape
            pixels = images if images.ndim == 4 else images.flatten(1)[:, :, None, None]  # torchvision wants four axes
            mixed, labels = chosen(pixels, labels)
            images = mixed.view(shape) if images.ndim != 4 else mixed
        return images, labels


def erase(images: Tensor, share: float) -> Tensor:
    """Copies of normalised images (N, 3, H, W); a random ``share`` of them has a rectangle of 0, the mean colour."""
    height, width = images.shape[-2:]
    sides, found = random_rectangles(len(images), height, width, images.device)
    # Plain numbers, not a tensor of them, which a GPU would wait for.
    room = torch.stack([height + 1 - sides[:, 0], width + 1 - sides[:, 1]], 1)
    corners = (torch.rand(len(images), 2, device=images.device) * room).floor()
    chosen = found & (torch.rand(len(images), device=images.device) < share)
    inside = [_between(corners[:, i], sides[:, i], length) for i, length in enumerate((height, width))]
    erased = chosen.view(-1, 1, 1, 1) & inside[0].view(-1, 1, height, 1) & inside[1].view(-1, 1, 1, width)
    return images.masked_fill(erased, 0.0)


def random_rectangles(count: int, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Heights and widths (count, 2) of rectangles in whole pixels, and whether a rectangle was found (count,).

    The distribution is that of torchvision's RandomErasing: the first of 10 random areas and ratios whose height and
    width are smaller than those of the image.
    """
    shape = (count, ERASE_TRIES)
    area = torch.empty(shape, device=device).uniform_(*ERASED_SHARE) * (height * width)
    ratio = torch.empty(shape, device=device).uniform_(*map(math.log, ERASED_RATIO)).exp_()
    sides = torch.stack([(area * ratio).sqrt_(), (area / ratio).sqrt_()], -1).round_()
    fits = (sides[..., 0] < height) & (sides[..., 1] < width)
    first = fits.to(torch.uint8).argmax(1).view(-1, 1, 1).expand(-1, 1, 2)
    return sides.gather(1, first).squeeze(1), fits.any(1)


def _between(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Mask (N, size) of the positions in [start, start + length)."""
    positions = torch.arange(size, device=start.device)
    begin, end = start.view(-1, 1), (start + length).view(-1, 1)
    return (positions >= begin) & (positions < end)
