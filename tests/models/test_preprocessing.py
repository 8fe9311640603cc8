"""What a network sees of a photo is what its weights were published with, if images are cut as published."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from inat.config.backbones import BACKBONE_NAMES
from inat.config.trial import DataConfig, TrialConfig
from inat.data.datamodule import ImageDataModule
from inat.models.published_backbones import BACKBONES

OPTIM = {"learning_rate": 1e-3, "batch_size": 4, "max_epochs": 1}


def first_validation_batch(config: DataConfig) -> torch.Tensor:
    data = ImageDataModule(config, 4)
    return data.on_after_batch_transfer(next(iter(data.val_dataloader())))[0]


def published_input(name: str, root: Path) -> torch.Tensor:
    transform = BACKBONES[name].weights.transforms()
    paths = sorted((root / "val").rglob("*.png"))[:4]
    return torch.stack([transform(Image.open(path).convert("RGB")) for path in paths])


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Photos of two classes, wide and high, some smaller and some larger than the input of the networks."""
    root = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        for label in "ab":
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = torch.randint(150, 420, (2,), generator=generator).tolist()
                pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
                Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return root


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_cropped_images_are_the_published_input_bit_by_bit(photos, tmp_path, name):
    params = {"data": str(photos), "cache_dir": str(tmp_path), "backbone": name, "strategy": "freeze_all", **OPTIM}
    config = TrialConfig.from_params(params | {"resize": "crop"})
    assert torch.equal(first_validation_batch(config.data), published_input(name, photos))
    squashed = first_validation_batch(TrialConfig.from_params(params).data)
    assert not torch.equal(squashed, published_input(name, photos))
