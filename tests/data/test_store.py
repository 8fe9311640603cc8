import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data import store
from inat.data.augment import normalise
from inat.data.folder import open_tree
from inat.errors import DataError
from tests.conftest import write_photo


def open_small(root, cache, size=16, bad=0.01):
    return store.open_store(open_tree(root)[0], size, cache, bad)


def test_batches_equal_the_classic_pipeline_bit_by_bit(photo_tree, tmp_path):
    root = photo_tree()
    photos, _ = open_tree(root)
    opened = open_small(root, tmp_path / "cache")
    classic = transforms.Compose([
        transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    ])  # fmt: skip
    ours = normalise(torch.from_numpy(np.array(opened.images)).permute(0, 3, 1, 2))
    for i, path in enumerate(photos.paths):
        with Image.open(photos.root / path) as image:
            assert torch.equal(ours[i], classic(image.convert("RGB")))


def test_built_once_and_shared_by_many_openers(photo_tree, tmp_path, monkeypatch):
    root = photo_tree()
    built = []
    build = store._build
    monkeypatch.setattr(store, "_build", lambda *args: (built.append(args), build(*args)))
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_small(root, tmp_path / "cache"), range(8)))
    assert len(built) == 1
    assert all(np.array_equal(s.images, stores[0].images) for s in stores)
    assert isinstance(stores[0].images, np.memmap)


@pytest.mark.parametrize("change", ["add", "remove", "edit"])
def test_a_changed_tree_is_built_again(photo_tree, tmp_path, change):
    root = photo_tree()
    before = open_small(root, tmp_path / "cache")
    photo = root / "train" / "bird" / "0.jpg"
    if change == "add":
        write_photo(root / "train" / "bird" / "new.jpg")
    elif change == "remove":
        photo.unlink()
    else:
        write_photo(photo, seed=77)
        os.utime(photo, ns=(1, 1))
    after = open_small(root, tmp_path / "cache")
    assert after.directory != before.directory


def test_unreadable_photos_are_left_out_and_listed(photo_tree, tmp_path):
    root = photo_tree()
    (root / "train" / "bird" / "3.jpg").write_text("no photo")
    opened = open_small(root, tmp_path / "cache", bad=0.1)
    assert (len(opened.images), len(opened.labels), opened.skipped) == (19, 19, 1)
    assert opened.labels.tolist() == [0] * 9 + [1] * 10
    listed = (opened.directory / "skipped.csv").read_text()
    assert "bird/3.jpg" in listed
    assert "cannot identify image file" in listed


def test_too_many_unreadable_photos_stop_the_run_and_leave_nothing(photo_tree, tmp_path):
    root = photo_tree()
    (root / "train" / "bird" / "3.jpg").write_text("no photo")
    with pytest.raises(DataError, match=r"1 of 20 photos .* more than the allowed 1.0% .*bird/3.jpg"):
        open_small(root, tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]


def test_photos_are_read_upright(tmp_path):
    picture = np.zeros((20, 10, 3), np.uint8)
    picture[:10] = 255  # white above, black below
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    read = store.read_photo(tmp_path / "turned.png", 8)
    assert read[0].max() == 0
    assert read[-1].min() == 255


def test_a_place_that_cannot_be_written_is_said(photo_tree):
    with pytest.raises(DataError, match=r"cannot write to /proc/nowhere .* --cache-dir"):
        open_small(photo_tree(), Path("/proc/nowhere"))


def test_a_dangling_link_and_a_strange_name_do_no_harm(photo_tree, tmp_path):
    root = photo_tree()
    (root / "train" / "bird" / "gone.jpg").symlink_to("nowhere.jpg")
    os.rename(os.fsencode(root / "train/bird/0.jpg"), os.fsencode(root / "train/bird") + b"/caf\xe9.jpg")
    opened = open_small(root, tmp_path / "cache", bad=0.1)
    assert (len(opened.images), opened.skipped) == (20, 1)


def test_a_small_disk_is_said_before_decoding(photo_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match=r"free and the decoded photos need .* --cache-dir"):
        open_small(photo_tree(), tmp_path / "cache")
