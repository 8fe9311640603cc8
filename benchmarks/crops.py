"""How far augmented crops of the stored image are from crops of the original, for several sizes of the stored image.

    python benchmarks/crops.py --data PHOTOS --image-size 64

The same random crops of the same photographs: from the original with Pillow's bilinear filter, as torchvision does it,
and from a square of ``margin`` times the image size as inat.data.augment does it. Peak signal-to-noise ratio in dB,
median and 5 % quantile over all crops.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from inat.data.augment import random_crops, resample
from inat.data.decode import read_image, resize
from inat.data.image_folder import list_train_and_test


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare crops."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    photos: int = 300
    """Photographs, spread evenly over the training ones."""
    crops: int = 4
    """Crops of each."""
    margins: tuple[float, ...] = (1, 1.5, 2, 3)


def decibels(photo: Image.Image, options: Options, margin: float) -> list[float]:
    """Of each crop of one photograph."""
    stored = torch.tensor(resize(photo, round(margin * options.image_size))).permute(2, 0, 1)
    centres, halves = random_crops(torch.full((options.crops,), photo.width / photo.height))
    still = torch.eye(2, 3).expand(options.crops, 2, 3)
    ours, _ = resample(stored.expand(options.crops, -1, -1, -1), centres, halves, still, options.image_size)
    boxes = (torch.cat([centres - halves, centres + halves], 1) + 1) / 2 * torch.tensor(photo.size * 2)
    found = []
    for picture, box in zip(ours, boxes.clamp(min=0).tolist(), strict=True):
        box = [min(edge, length) for edge, length in zip(box, photo.size * 2, strict=True)]
        side = options.image_size
        exact = photo.resize((side, side), Image.Resampling.BILINEAR, box=tuple(box))
        error = float(((picture.permute(1, 2, 0).numpy() - np.asarray(exact) / 255) ** 2).mean())
        found.append(-10 * math.log10(max(error, 1e-10)))
    return found


def main() -> None:
    """Print a line for each margin, then the result line."""
    options = tyro.cli(Options)
    train, _ = list_train_and_test(options.data)
    paths = [train.root / train.paths[i] for i in np.linspace(0, len(train.paths) - 1, options.photos).astype(int)]
    parts = []
    print(options)
    for margin in options.margins:
        torch.manual_seed(0)
        values = [value for path in paths for value in decibels(read_image(path), options, margin)]
        low, middle = np.quantile(values, [0.05, 0.5])
        print(f"margin {margin:g}: median {middle:.1f} dB, 5 % of the crops below {low:.1f} dB")
        parts.append(f"psnr_{margin:g}={middle:.4g} psnr_{margin:g}_low={low:.4g}")
    print("result: " + " ".join(parts))


if __name__ == "__main__":
    main()
