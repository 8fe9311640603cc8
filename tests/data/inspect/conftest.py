from pathlib import Path

import pytest
from PIL import Image

from inat.config.trial import DataConfig
from inat.data.inspect.collect import Collected, collect
from tests.conftest import write_image


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two classes in train/ and val/: with a copy across the splits, one in two classes, and what is not used."""
    root = tmp_path / "photos"
    for number, (name, count) in enumerate((("bird", 30), ("fish", 15))):
        for split, images in (("train", count), ("val", 5)):
            for i in range(images):
                write_image(root / split / name / f"{i}.jpg", seed=1000 * number + i + (500 if split == "val" else 0))
    write_image(root / "train" / "bird" / "copy_of_val.jpg", seed=500)
    write_image(root / "train" / "fish" / "copy_of_bird.jpg", seed=0)
    Image.new("L", (40, 60), 250).save(root / "train" / "fish" / "white.png")
    (root / "train" / "bird" / "film.mp4").write_bytes(b"no image")
    return root


@pytest.fixture
def config(photos, tmp_path) -> DataConfig:
    return DataConfig(data=str(photos), image_size=32, cache_dir=str(tmp_path / "cache"), keep_duplicates=False)


@pytest.fixture
def found(config) -> Collected:
    return collect(config)
