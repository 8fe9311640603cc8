import numpy as np
import pytest
from PIL import Image

from inat.config.trial import DataConfig
from inat.data import preview
from inat.data.splits import load_splits
from inat.errors import DataError


@pytest.fixture
def config(image_tree, tmp_path):
    root = image_tree(classes=("ant", "bee", "cat"))
    return DataConfig(data=str(root), image_size=16, cache_dir=str(tmp_path / "cache"), use_augmentation=True)


def test_the_examples_take_the_classes_in_turn(config):
    train = load_splits(config).train
    rows = preview.example_rows(train)
    assert train.labels[train.rows[rows]].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(set(rows)) == 8


def test_a_preview_shows_the_stored_image_and_different_copies_of_it(config):
    train = load_splits(config).train
    rows = preview.example_rows(train)
    stored, copies = preview.stored_images(train, rows), preview.augmented_copies(config, rows)
    assert np.array_equal(np.round(stored * 255), train.images[train.rows[rows]])
    assert copies.shape == (8, preview.COPIES, 16, 16, 3)
    assert not np.array_equal(copies[:, 0], copies[:, 1])


def test_a_preview_is_written_and_equal_for_the_same_seed(config, tmp_path):
    for name in ("a", "b"):
        preview.write_preview(config, tmp_path / f"{name}.png", seed=5)
    a, b = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("a", "b"))
    assert np.array_equal(a, b)
    assert a.shape[0] > 1000
    assert a[..., :3].std() > 10


@pytest.mark.parametrize("name", ["out.xyz", "nowhere/out.png"])
def test_a_preview_that_cannot_be_written_is_refused(config, tmp_path, name):
    with pytest.raises(DataError, match=r"cannot write .*out\..*--augment-preview"):
        preview.write_preview(config, tmp_path / name)
