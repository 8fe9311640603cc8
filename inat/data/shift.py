"""The augmentation "shift": whole pixels up to a sixteenth of the side, and mirror images."""

import torch
from torch import Tensor

SHIFT_SHARE, LEAST_SHIFT = 1 / 16, 2  # the largest shift, of the side and in px: 2 px at 32 px, as in airbench


def shift(images: Tensor, mirrors: Tensor) -> Tensor:
    """Copies of images (N, 3, S, S), each shifted by a few whole pixels and mirrored or not, in channels last.

    It is a random crop of the image with its reflection around it, in one gather and without a wait for a GPU.
    ``mirrors`` (N,) are the ``aspects`` of a batch: -1 to mirror an image, 1 not to, 0 to leave it to chance.
    """
    return shift_by(images, mirrors, torch.rand(3, len(images), device=images.device))


def shift_by(images: Tensor, mirrors: Tensor, numbers: Tensor) -> Tensor:
    """The copies of ``shift`` from random numbers (3, N) in 0..1: shifts down and across, and mirror below 0.5."""
    side, device = images.shape[-1], images.device
    most = largest_shift(side)
    offsets = (numbers[:2] * (2 * most + 1)).long() - most
    places = offsets.unsqueeze(-1) + torch.arange(side, device=device)  # (2, N, S), may be outside of the image
    down, across = (side - 1 - (side - 1 - places.abs()).abs()).unbind()  # reflected without the edge pixel
    mirrored = torch.where(mirrors == 0, numbers[2] < 0.5, mirrors < 0)
    across = torch.where(mirrored.unsqueeze(1), side - 1 - across, across)
    image = torch.arange(len(images), device=device).view(-1, 1, 1)
    shifted = images.permute(0, 2, 3, 1)[image, down.unsqueeze(2), across.unsqueeze(1)]
    return shifted.permute(0, 3, 1, 2)


def largest_shift(side: int) -> int:
    """The largest shift of images of ``side`` px, in px; reflection cannot fill more than the side less one.

    >>> [largest_shift(side) for side in (2, 8, 32, 64, 224)]
    [1, 2, 2, 4, 14]
    """
    return min(max(LEAST_SHIFT, round(SHIFT_SHARE * side)), side - 1)
