import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from inat.config.trial import DataConfig
from inat.data.layouts import list_folders
from inat.data.splits import inspect_data
from inat.errors import DataError
from tests.conftest import write_image


def inspect(root: Path):
    return inspect_data(DataConfig(data=str(root), image_size=16))


def test_images_are_listed_by_class_and_name(image_tree):
    train, test = list_folders(image_tree()).parts
    assert train.classes == test.classes == ("bird", "fish")
    assert (len(train.paths), len(test.paths)) == (20, 6)
    assert train.labels == (0,) * 10 + (1,) * 10
    assert list(train.paths) == sorted(train.paths)


def test_the_test_folder_is_the_held_out_split_even_beside_val(image_tree):
    root = image_tree(held_out="test")
    assert list_folders(root).test.root.name == "test"
    write_image(root / "val" / "bird" / "x.jpg")
    write_image(root / "val" / "fish" / "x.jpg")
    assert list_folders(root).test.root.name == "test"


def test_all_formats_of_pillow_are_listed_in_any_case_and_no_other_files(image_tree):
    root = image_tree()
    for name in ("a.PNG", "b.webp", "c.JPEG", "d.tiff", "e.bmp", "with space é.gif"):
        write_image(root / "train" / "bird" / name)
    for name in ("notes.txt", ".hidden.jpg", "Thumbs.db", "paper.pdf"):
        (root / "train" / "bird" / name).write_bytes(b"x")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert len(list_folders(root).development.paths) == 26


def test_links_to_parent_folders_and_hidden_folders_are_skipped(image_tree):
    root = image_tree()
    (root / "train" / "bird" / "loop").symlink_to(root / "train")
    write_image(root / "train" / "bird" / ".cache" / "x.jpg")
    write_image(root / "train" / "bird" / "more" / "y.jpg")
    train = list_folders(root).development
    assert len(train.paths) == 21
    assert all(train.labels[i] == 0 for i, path in enumerate(train.paths) if path.startswith("bird"))


def test_dangling_links_and_names_in_any_encoding_have_a_fingerprint(image_tree):
    root = image_tree()
    (root / "train" / "bird" / "gone.jpg").symlink_to("nowhere.jpg")
    os.rename(os.fsencode(root / "train/bird/0.jpg"), os.fsencode(root / "train/bird") + b"/caf\xe9.jpg")
    before = inspect(root).fingerprint
    assert inspect(root).fingerprint == before


def remove(root: Path, part: str) -> None:
    shutil.rmtree(root / part)


def replace_by_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("x")


def empty_class(root: Path) -> None:
    for path in (root / "train" / "bird").iterdir():
        path.unlink()


def one_photo(root: Path) -> None:
    for path in list((root / "train" / "bird").iterdir())[1:]:
        path.unlink()


def few_photos(root: Path) -> None:
    for name in ("bird", "fish"):
        for path in list((root / "train" / name).iterdir())[3:]:
            path.unlink()


def single_class(root: Path) -> None:
    remove(root, "train/fish")
    remove(root, "val/fish")


def no_classes(root: Path) -> None:
    remove(root, "train")
    (root / "train").mkdir()


def nest(root: Path) -> None:
    inner = root.with_name("inner")
    os.rename(root, inner)
    root.mkdir()
    os.rename(inner, root / "inner")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root), r"photos does not exist; pass --data FOLDER .* or --data digits"),
        (replace_by_file, r"photos is not a folder; pass --data"),
        (lambda root: remove(root, "train"), r"no 'train' folder in .*photos, only 'val'; expected train/<class>"),
        (nest, r"no 'train' folder in .*; did you mean --data .*inner\?"),
        (no_classes, r"train has no class folders"),
        (empty_class, r"class folder .*bird has no image files; add photos"),
        (one_photo, r"class .*bird has 1 photo, and a class needs at least 2"),
        (few_photos, r"6 photos, so the validation split \(20%\) would have 1, fewer than the 2 classes"),
        (single_class, r"the single class 'bird'; a classifier needs at least 2"),
        (lambda root: remove(root, "val/fish"), r"same classes; only in train: fish$"),
    ],
)
def test_each_wrong_layout_is_refused_with_one_sentence(image_tree, spoil, message):
    root = image_tree()
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        inspect(root)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_depends_on_the_images_and_not_on_their_place(image_tree, tmp_path):
    root = image_tree()
    before = inspect(root).fingerprint
    copy = tmp_path / "elsewhere"
    shutil.copytree(root, copy)
    assert inspect(copy).fingerprint == before
    write_image(root / "train" / "bird" / "new.jpg")
    assert inspect(root).fingerprint != before


@pytest.mark.parametrize("link", ["train/self", "train/bird/self", "train/bird/folder/self"])
def test_a_link_to_itself_leads_nowhere(image_tree, link):
    root = image_tree()
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to("self")
    assert inspect(root).images == 20


def test_an_image_that_is_a_link_to_itself_is_listed_like_a_dangling_one(image_tree):
    root = image_tree()
    (root / "train" / "bird" / "self.jpg").symlink_to("self.jpg")
    train = list_folders(root).development
    assert [file.size for file in train.files if file.path == "bird/self.jpg"] == [-1]


@contextmanager
def closed(folder: Path):
    """Without permission to open ``folder``. Permissions do not bind root, who becomes another user for that time."""
    user = os.geteuid()
    if user == 0:
        for parent in folder.parents:
            if parent.stat().st_mode & 0o055 != 0o055 and parent.name.startswith(("pytest", "popen-", "test_")):
                parent.chmod(0o755)  # pytest closes its folders to other users
    folder.chmod(0o700 if user == 0 else 0o000)
    os.seteuid(user or 12345)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.mark.parametrize("folder", [".", "train", "train/bird", "val/fish"])
def test_a_folder_that_may_not_be_opened_is_named(image_tree, folder):
    root = image_tree()
    with closed(root / folder):
        with pytest.raises(
            DataError, match=rf"cannot list {root / folder}.* \(Permission denied\); check its permissions"
        ):
            inspect(root)


def test_a_folder_below_one_that_may_not_be_opened_is_named_too(image_tree):
    root = image_tree()
    with closed(root):
        with pytest.raises(DataError, match=rf"cannot list {root}/train \(Permission denied\)"):
            inspect(root / "train")
