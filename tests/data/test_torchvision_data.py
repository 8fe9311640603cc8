import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inat.config.trial import DataConfig
from inat.data.cache import cached_stores
from inat.data.splits import assignment, inspect_data, load_splits
from inat.data.torchvision_data import list_torchvision
from inat.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path) -> Path:
    """The files of MNIST (two splits), Country211 (three) and EuroSAT (none), with noise for images."""
    rng, root = np.random.default_rng(0), tmp_path / "sets"
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 100), ("t10k", 30)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8).tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels)
        labels = bytes(index % 10 for index in range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
    folders = [(f"country211/{split}/{name}", count) for split, count in (("train", 20), ("valid", 5), ("test", 5))
               for name in ("DE", "FR")] + [(f"eurosat/2750/{name}", 20) for name in ("Lake", "Sea")]  # fmt: skip
    for folder, count in folders:
        (root / folder).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(root / folder / f"{number}.jpg")
    return root


def config(root: Path, name: str, **changes) -> DataConfig:
    return DataConfig(data=f"torchvision:{name}", root=str(root), image_size=16,
                      cache_dir=str(root.parent / "cache"), **changes)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sizes", "meaning"),
    [
        ("MNIST", (80, 20, 30), "MNIST has its own test split (test); validation is cut from the training images"),
        ("Country211", (40, 10, 10), "Country211 has its own validation and test split"),
        ("EuroSAT", (25, 7, 8), "EuroSAT has no splits: the test split is cut from it, then validation from the rest"),
    ],
)
def test_the_splits_of_a_data_set_are_used(root, name, sizes, meaning):
    data = config(root, name)
    splits = load_splits(data)
    assert (len(splits.train), len(splits.val), len(splits.test)) == sizes
    assert assignment(data).listing.meaning == meaning


def test_images_are_those_of_the_data_set(root):
    from torchvision.datasets import MNIST

    splits = load_splits(config(root, "MNIST"))
    theirs = MNIST(str(root), train=False)[7][0].convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(splits.test.images[splits.test.rows[7]], np.asarray(theirs))
    assert splits.classes[3] == "3 - three"


def test_other_pixels_are_another_data_set(root):
    before = inspect_data(config(root, "MNIST")).fingerprint
    path = root / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    from inat.data.torchvision_data import open_part

    open_part.cache_clear()
    assert inspect_data(config(root, "MNIST")).fingerprint != before


def test_its_stores_are_listed_as_current(root):
    load_splits(config(root, "EuroSAT"))
    assert {store.state for store in cached_stores(root.parent / "cache")} == {"current"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CIFAR", r"torchvision has no data set 'CIFAR'; did you mean CIFAR10 or CIFAR100\?"),
        ("CIFAR10", r"CIFAR10 cannot be opened in .*sets \(Dataset not found.*\); check --root, or add --download"),
        ("CocoDetection", r"CocoDetection is no data set of single images with one class each"),
    ],
)
def test_a_data_set_that_is_not_there_is_refused(root, name, message):
    with pytest.raises(DataError, match=message):
        inspect_data(config(root, name))


def test_root_and_data_need_each_other(tmp_path):
    with pytest.raises(ConfigError, match="--data torchvision:CIFAR10 needs --root"):
        DataConfig(data="torchvision:CIFAR10", image_size=16)
    with pytest.raises(ConfigError, match="needs a data set such as --data torchvision:CIFAR10"):
        DataConfig(data=str(tmp_path), root=str(tmp_path), image_size=16)


def test_a_name_in_another_case_is_understood():
    with pytest.raises(DataError, match=r"no data set 'cifar10'; did you mean CIFAR10 or"):
        list_torchvision("torchvision:cifar10", Path())
