"""What happens to an image between the store and the network, one function a split."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from inat.constants import IMAGENET_MEAN, IMAGENET_STD

Transform = Callable[[Tensor], Tensor]


def training_augmentation(image_size: int) -> Transform:
    """The predecessor's augmentation, uint8 (3, H, W) -> uint8 (3, image_size, image_size), drawn anew at each call."""
    steps: list[torch.nn.Module] = [
        v2.RandomResizedCrop(image_size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
        v2.RandomAffine(degrees=15, translate=(0.1, 0.1), shear=10),
    ]
    augment: Transform = v2.Compose(steps)
    return augment


def normalise(images: Tensor) -> Tensor:
    """uint8 images (N, 3, H, W) -> float32 with ImageNet's mean and standard deviation, on the images' device.

    The same arithmetic in the same order as torchvision's ToTensor and Normalize, so the results are equal bit by bit.
    """
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return images.to(torch.float32).div_(255).sub_(mean).div_(std)
