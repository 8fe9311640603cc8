"""Compare augmented crops of the stored image with crops of the original, for several sizes of the stored image.

    python benchmarks/crops.py --data PHOTOS --image-size 64

Both sides make the same random crops of the same images: from the original with Pillow's bilinear filter, as
torchvision does, and from a stored square of ``margin`` times the image size, as inat.data.augment does. The result is
the peak signal-to-noise ratio in dB: median and 5 % quantile over all crops.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from inat.data.augment import random_crops, resample
from inat.data.decode import Resize, read_image
from inat.data.layouts import list_folders


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare crops."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    photos: int = 300
    """Number of images, evenly spaced over the training images."""
    crops: int = 4
    """Crops per image."""
    margins: tuple[float, ...] = (1, 1.5, 2, 3)


def decibels(image: Image.Image, options: Options, margin: float) -> list[float]:
    """Peak signal-to-noise ratio in dB of each crop of one image."""
    stored = torch.tensor(Resize(round(margin * options.image_size))(image)).permute(2, 0, 1)
    centres, halves = random_crops(torch.full((options.crops,), image.width / image.height))
    still = torch.eye(2, 3).expand(options.crops, 2, 3)
    resampled, _ = resample(stored.expand(options.crops, -1, -1, -1), centres, halves, still, options.image_size)
    boxes = (torch.cat([centres - halves, centres + halves], 1) + 1) / 2 * torch.tensor(image.size * 2)
    found = []
    for crop, box in zip(resampled, boxes.clamp(min=0).tolist(), strict=True):
        box = [min(edge, length) for edge, length in zip(box, image.size * 2, strict=True)]
        side = options.image_size
        exact = image.resize((side, side), Image.Resampling.BILINEAR, box=tuple(box))
        error = float(((crop.permute(1, 2, 0).numpy() - np.asarray(exact) / 255) ** 2).mean())
        found.append(-10 * math.log10(max(error, 1e-10)))
    return found


def main() -> None:
    """Print one line per margin, then the result line."""
    options = tyro.cli(Options)
    train = list_folders(options.data).development
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
