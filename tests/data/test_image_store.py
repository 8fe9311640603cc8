import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
import torch
from filelock import FileLock
from PIL import Image
from torchvision import transforms

from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data import image_store, image_store_builder, store
from inat.data.augment import normalise, scale_to_one
from inat.data.layouts import list_folders
from inat.errors import DataError
from tests.conftest import write_image

# Two real images, 640 x 427, which scikit-learn ships.
REAL_IMAGES = sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


def open_small(root, cache, size=16, bad=0.01):
    return image_store.open_stores(list_folders(root).development, [size], cache, bad)[0]


def build_count(monkeypatch) -> list[int]:
    counted: list[int] = []
    real = image_store.build_stores
    monkeypatch.setattr(image_store, "build_stores", lambda *args: (counted.append(1), real(*args)))
    return counted


@pytest.mark.parametrize("size", [16, 64, 224])
def test_batches_of_real_images_equal_those_of_torchvision_bit_by_bit(image_tree, tmp_path, size):
    root = image_tree()
    for path in REAL_IMAGES:
        (root / "train" / "fish" / path.name).symlink_to(path)
    files = list_folders(root).development
    opened = open_small(root, tmp_path / "cache", size)
    classic = transforms.Compose([
        transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    ])  # fmt: skip
    actual = normalise(scale_to_one(torch.tensor(opened.images).permute(0, 3, 1, 2)))
    assert len(REAL_IMAGES) == 2
    for i, path in enumerate(files.paths):
        with Image.open(files.root / path) as image:
            assert torch.equal(actual[i], classic(image.convert("RGB")))


def test_what_killed_processes_left_of_other_stores_goes_and_what_others_build_stays(image_tree, tmp_path):
    cache = tmp_path / "cache"
    left, built = (cache / f"photos-{name}-16px.building" for name in ("killed", "running"))
    for directory in (left, built):
        directory.mkdir(parents=True)
        (directory / "images.npy").write_bytes(b"x")
    with FileLock(store.lock_path(built)):
        open_small(image_tree(), cache)
    assert not left.exists()
    assert built.exists()


def test_a_store_has_labels_names_shapes_and_a_manifest(image_tree, tmp_path):
    root = image_tree()
    write_image(root / "train" / "fish" / "wide.jpg", size=(60, 20))
    opened = open_small(root, tmp_path / "cache")
    names = json.loads((opened.directory / "names.json").read_text())
    manifest = json.loads((opened.directory / "manifest.json").read_text())
    assert (opened.images.shape, opened.images.dtype) == ((21, 16, 16, 3), np.uint8)
    assert opened.labels.tolist() == [0] * 10 + [1] * 11
    assert dict(zip(names, opened.aspects.tolist(), strict=True)) == {
        path: 3.0 if "wide" in path else 1.25 for path in list_folders(root).development.paths
    }
    assert (manifest["photos"], manifest["size"], manifest["classes"]) == (21, 16, ["bird", "fish"])


def test_several_sizes_are_decoded_in_one_pass(image_tree, tmp_path, monkeypatch):
    files = list_folders(image_tree()).development
    decoded = []
    real = image_store_builder.read_image
    monkeypatch.setattr(image_store_builder, "read_image", lambda path: (decoded.append(path), real(path))[1])
    small, large = image_store.open_stores(files, [8, 24], tmp_path / "cache", 0.01)
    assert (small.images.shape[1], large.images.shape[1], len(decoded)) == (8, 24, 20)
    assert [s.images.shape[1] for s in image_store.open_stores(files, [24, 8], tmp_path / "cache", 0.01)] == [24, 8]
    assert len(decoded) == 20


OPEN_AT_ONCE = """
import sys, time
from pathlib import Path
from inat.data import image_store
from inat.data.layouts import list_folders
real = image_store.build_stores
def build(*args):
    Path(sys.argv[2]).open("a").write("built\\n")
    time.sleep(0.5)  # the other processes start to wait
    real(*args)
image_store.build_stores = build
files = list_folders(Path(sys.argv[1])).development
while time.time() < float(sys.argv[4]):
    time.sleep(0.01)
print(int(image_store.open_stores(files, [16], Path(sys.argv[3]), 0.01)[0].images.astype(int).sum()))
"""


def test_ten_processes_at_once_build_it_once(image_tree, tmp_path):
    log, start = tmp_path / "log", str(time.time() + 2.5)
    command = [sys.executable, "-c", OPEN_AT_ONCE, image_tree(), log, tmp_path / "cache", start]
    processes = [subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE) for _ in range(10)]
    sums = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 10
    assert log.read_text() == "built\n"
    assert len(sums) == 1


def test_an_untouched_tree_is_opened_and_not_built(image_tree, tmp_path, monkeypatch):
    root = image_tree()
    first = open_small(root, tmp_path / "cache")
    built = build_count(monkeypatch)
    second = open_small(root, tmp_path / "cache")
    assert np.array_equal(first.images, second.images)
    assert first.directory == second.directory
    assert built == []


def test_opened_images_are_a_map_of_the_file_that_cannot_be_written(image_tree, tmp_path):
    opened = open_small(image_tree(), tmp_path / "cache")
    assert isinstance(opened.images.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        opened.images[0] = 0


def test_a_store_larger_than_the_memory_can_be_opened(image_tree, tmp_path):
    """A sparse file of 4 TB: the system refuses to reserve that much memory, but maps the file for reading."""
    root = image_tree()
    images = open_small(root, tmp_path / "cache").directory / "images.npy"
    with images.open("wb") as file:
        shape = {"shape": (20, 260_000, 260_000, 3), "descr": "|u1", "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, shape)
        file.truncate(file.tell() + 20 * 260_000**2 * 3)
    assert open_small(root, tmp_path / "cache").images.nbytes > 4e12


def test_stores_of_two_sizes_never_differ_in_their_readable_images(image_tree, tmp_path, monkeypatch):
    files = list_folders(image_tree()).development
    real = image_store_builder.read_image

    def fail_once(path):
        if path == str(files.root / files.paths[3]):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(image_store_builder, "read_image", fail_once)
    assert image_store.open_stores(files, [16], tmp_path / "cache", 0.5)[0].skipped == 1
    monkeypatch.setattr(image_store_builder, "read_image", real)
    small, large = image_store.open_stores(files, [16, 32], tmp_path / "cache", 0.5)
    assert (small.skipped, large.skipped) == (0, 0)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), OSError(24, "Too many open files"), MemoryError()])
def test_a_failure_of_the_node_marks_no_image_as_unreadable(image_tree, tmp_path, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(image_store_builder, "read_image", fail)
    with pytest.raises(DataError, match=r"cannot decode .*\.jpg \(.*(Input|Too many|MemoryError).*try again"):
        open_small(image_tree(), tmp_path / "cache", bad=0.99)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_cache_of_another_user_can_be_read(image_tree, tmp_path, monkeypatch):
    root = image_tree()
    open_small(root, tmp_path / "cache")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    for module, name in ((store, "FileLock"), (os, "utime"), (Path, "mkdir")):
        monkeypatch.setattr(module, name, refuse)
    assert open_small(root, tmp_path / "cache").skipped == 0
    with pytest.raises(DataError, match="cannot write to .*Permission denied"):
        open_small(root, tmp_path / "cache", size=8)


def test_waiting_for_another_process_is_announced(image_tree, tmp_path, capsys):
    root = image_tree()
    (tmp_path / "cache").mkdir()
    lock = FileLock(
        store.lock_path(image_store.store_directory(list_folders(root).development, 16, tmp_path / "cache"))
    )
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(open_small, root, tmp_path / "cache")
        while "waiting for another process that decodes" not in capsys.readouterr().err:
            time.sleep(0.01)
        lock.release()
        assert waiting.result().skipped == 0


def add(root: Path) -> None:
    write_image(root / "train" / "bird" / "new.jpg")


def remove(root: Path) -> None:
    (root / "train" / "bird" / "0.jpg").unlink()


def rename(root: Path) -> None:
    (root / "train" / "bird" / "0.jpg").rename(root / "train" / "bird" / "zero.jpg")


def edit(root: Path) -> None:
    image = root / "train" / "bird" / "0.jpg"
    content = bytearray(image.read_bytes())
    content[-3] ^= 1  # same size
    image.write_bytes(content)
    os.utime(image, ns=(1, 1))


def allow(root: Path) -> None:
    (root / "train" / "bird" / "0.jpg").chmod(0o600)


@pytest.mark.parametrize("change", [add, remove, rename, edit, allow])
def test_a_changed_tree_is_built_again(image_tree, tmp_path, monkeypatch, change):
    root = image_tree()
    before = open_small(root, tmp_path / "cache")
    built = build_count(monkeypatch)
    change(root)
    assert open_small(root, tmp_path / "cache").directory != before.directory
    assert built == [1]


@pytest.mark.parametrize("part", ["images.npy", "labels.npy", "aspects.npy"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: os.truncate(path, 40)])
def test_a_damaged_store_is_built_again(image_tree, tmp_path, part, damage):
    root = image_tree()
    before = open_small(root, tmp_path / "cache")
    images = before.images.copy()
    damage(before.directory / part)
    assert np.array_equal(open_small(root, tmp_path / "cache").images, images)


def test_a_build_that_was_killed_leaves_nothing_that_looks_complete(image_tree, tmp_path, monkeypatch):
    root = image_tree()

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(image_store_builder, "_write_sidecars", killed)
        with pytest.raises(KeyboardInterrupt):
            open_small(root, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    # After kill -9 the half-built directory stays, under another name.
    directory = image_store.store_directory(list_folders(root).development, 16, tmp_path / "cache")
    (tmp_path / "cache" / f"{directory.name}.building").mkdir()
    (tmp_path / "cache" / f"{directory.name}.building" / "images.npy").write_bytes(b"part")
    assert open_small(root, tmp_path / "cache").images.max() > 0


def test_unreadable_images_are_black_left_out_and_listed(image_tree, tmp_path):
    root = image_tree()
    (root / "train" / "bird" / "3.jpg").write_text("no image")
    opened = open_small(root, tmp_path / "cache", bad=0.1)
    assert opened.rows.tolist() == [0, 1, 2, *range(4, 20)]
    assert opened.images[3].max() == 0
    assert opened.skipped == 1
    header, line = (opened.directory / "skipped.csv").read_text().splitlines()
    assert header == "path,reason"
    assert line == "bird/3.jpg,cannot identify image file"


def test_too_many_unreadable_images_are_refused_with_their_list(image_tree, tmp_path, monkeypatch):
    root, cache = image_tree(), tmp_path / "cache"
    (root / "train" / "bird" / "3.jpg").write_text("no image")
    built = build_count(monkeypatch)
    message = (
        r"1 of 20 photos .* allowed 1.0% \(first: bird/3.jpg: cannot identify image file\); .*skipped.csv, or allow"
    )
    for _ in range(2):  # also if an earlier run has built the store
        with pytest.raises(DataError, match=message + r".* --max-bad-fraction 0.05$") as caught:
            open_small(root, cache)
    listing = Path(re.search(r"listed in (\S+),", str(caught.value))[1])
    assert "bird/3.jpg" in listing.read_text()
    assert open_small(root, cache, bad=0.05).skipped == 1
    assert built == [1]  # the decoded images are kept


def test_dangling_links_and_names_in_any_encoding_do_no_harm(image_tree, tmp_path):
    root = image_tree()
    (root / "train" / "bird" / "gone.jpg").symlink_to("nowhere.jpg")
    os.rename(os.fsencode(root / "train/bird/0.jpg"), os.fsencode(root / "train/bird") + b"/caf\xe9 1.jpg")
    opened = open_small(root, tmp_path / "cache", bad=0.1)
    assert (len(opened.rows), opened.skipped) == (20, 1)
    assert "gone.jpg,No such file or directory" in (opened.directory / "skipped.csv").read_text()


def test_images_without_read_permission_are_listed():
    # Root may read any file, so root becomes nobody here. Other users may not enter tmp_path.
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "photos", Path(folder) / "cache"
        for i in range(4):
            write_image(root / "train" / "bird" / f"{i}.jpg", seed=i)
            write_image(root / "val" / "bird" / f"{i}.jpg", seed=i)
        (root / "train" / "bird" / "2.jpg").chmod(0)
        cache.mkdir()
        Path(folder).chmod(0o755)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(cache, 65534, -1)
            os.seteuid(65534)
        try:
            opened = open_small(root, cache, bad=0.5)
        finally:
            if is_root:
                os.seteuid(0)
        assert opened.rows.tolist() == [0, 1, 3]
        assert "bird/2.jpg,Permission denied" in (opened.directory / "skipped.csv").read_text()


@pytest.mark.parametrize("cache", [Path("/proc/nowhere"), Path("/dev/null/cache")])
def test_a_cache_that_cannot_be_written_is_refused(image_tree, cache):
    with pytest.raises(DataError, match=rf"cannot write to {cache} .* --cache-dir"):
        open_small(image_tree(), cache)


def test_a_disk_that_is_too_small_is_refused_before_decoding(image_tree, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match=r"the disk of .*cache has 10 bytes free and decoding .* needs .* --cache-dir"):
        open_small(image_tree(), tmp_path / "cache")


def test_a_disk_that_fills_up_while_decoding_is_one_sentence(image_tree, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DataError, match=r"the disk of .*cache is full; free some space, or pass --cache-dir"):
        open_small(image_tree(), tmp_path / "cache")


def test_the_size_is_shown_before_decoding(image_tree, tmp_path, capsys):
    open_small(image_tree(), tmp_path / "cache", size=100)
    assert "decoding 20 photos of" in (err := capsys.readouterr().err)
    assert "at 100 px: 600.0 kB in" in err


@pytest.mark.parametrize("name", ["L" * 255, "é" * 127])
def test_a_folder_with_the_longest_name_has_a_store(tmp_path, name):
    for folder in ("bird", "fish"):
        write_image(tmp_path / name / folder / "0.jpg")
    assert len(open_small(tmp_path / name, tmp_path / "cache").labels) == 2


def test_a_folder_with_a_usual_name_keeps_the_name_of_its_store(image_tree, tmp_path):
    root = image_tree()
    directory = open_small(root, tmp_path / "cache").directory
    assert re.fullmatch(r"photos-train-[0-9a-f]{16}-16px", directory.name)


def test_photos_that_all_are_unreadable_come_without_a_share_to_allow(image_tree, tmp_path):
    root = image_tree(train=2)
    for path in (root / "train").rglob("*.jpg"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"4 of 4 photos .* remove or replace those listed in .*skipped.csv$"):
        open_small(root, tmp_path / "cache")
