"""Time the augmentation of one batch by torchvision (image by image), kornia (per batch) and inat (per batch).

    python benchmarks/augment.py --image-size 64
    pip install kornia && python benchmarks/augment.py      # also measures kornia

All three apply RandomResizedCrop, horizontal flip, ColorJitter(0.2, 0.2, 0.2, 0.1) and RandomAffine(15 degrees,
translate 0.1, shear 10) to uint8 images of twice the size, and return normalised float32. They alternate in one
process. The unit is milliseconds per batch; "inat" in the results is inat.data.augment.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import tyro
from measure import hardware, ratios, result_line, spread
from torch import Tensor
from torchvision.transforms import v2

from inat.config.trial import CROP_MARGIN, DataConfig
from inat.constants import DIGITS, IMAGENET_MEAN, IMAGENET_STD
from inat.data.datamodule import network_input
from inat.data.sending import Batch
from inat.training.memory import keep_freed_memory

Augmentation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure augmentations side by side."""

    image_size: int = 64
    """Side of the augmented images in pixels."""
    batch_size: int = 64
    rounds: int = 5
    batches: int = 10
    """Batches per measurement."""


def inat_augmentation(size: int) -> Augmentation:
    """inat: resample the whole batch once, then change its colours; on a GPU in four kernels."""
    config = DataConfig(data=DIGITS, image_size=size, use_augmentation=True)

    def run(images: Tensor) -> Tensor:
        count, device = len(images), images.device
        batch = Batch(images, torch.zeros(count, device=device), torch.full((count,), 4 / 3, device=device))
        return network_input(batch, config)

    return run


def torchvision_augmentation(size: int) -> Augmentation:
    """torchvision as documented: one call draws one set of random numbers, so each image needs its own call."""
    steps = v2.Compose([
        v2.RandomResizedCrop(size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
        v2.RandomAffine(15, translate=(0.1, 0.1), shear=10),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
    return lambda images: torch.stack([steps(image) for image in images])


def kornia_augmentation(size: int) -> Augmentation:
    """kornia's batched augmentations."""
    import kornia.augmentation as library

    steps = library.AugmentationSequential(
        library.RandomResizedCrop((size, size)),
        library.RandomHorizontalFlip(),
        library.ColorJitter(0.2, 0.2, 0.2, 0.1, p=1.0),
        library.RandomAffine(15, translate=(0.1, 0.1), shear=10, p=1.0),
        library.Normalize(torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)),
    )

    def run(images: Tensor) -> Tensor:
        result: Tensor = steps(images.float() / 255)
        return result

    return run


def milliseconds(step: Augmentation, images: Tensor, batches: int) -> float:
    """Milliseconds per batch over ``batches`` batches, after one to warm up."""
    step(images)
    _wait(images)
    started = time.perf_counter()
    for _ in range(batches):
        step(images)
    _wait(images)
    return 1000 * (time.perf_counter() - started) / batches


def _wait(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)


def main() -> None:
    """Alternate the sides, print medians, then the result line."""
    options = tyro.cli(Options)
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side = CROP_MARGIN * options.image_size
    stored = torch.randint(0, 256, (options.batch_size, side, side, 3), dtype=torch.uint8, device=device)
    steps = {
        "inat": inat_augmentation(options.image_size),
        "torchvision": torchvision_augmentation(options.image_size),
    }
    if find_spec("kornia"):
        steps["kornia"] = kornia_augmentation(options.image_size)
    print(f"{hardware()}\n{options}")
    parts: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            parts[name].append(milliseconds(step, stored.permute(0, 3, 1, 2), options.batches))
    parts |= {f"{name}_over_inat": ratios(parts[name], parts["inat"]) for name in list(steps)[1:]}
    for name, values in parts.items():
        unit = "ms per batch" if name in steps else "times"
        print(f"{name:24} {spread(values)} {unit}")
    print(result_line(parts))


if __name__ == "__main__":
    main()
