"""Find the images of a class-folder tree, and refuse a tree that cannot be trained on."""

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from inat.constants import DIGITS, TEST, TRAIN, VAL
from inat.errors import DataError

# Accepted without asking Pillow, which takes 0.1 s to load all its formats.
COMMON_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


class ImageFile(NamedTuple):
    """An image file of a split; a dangling link has size -1, time 0 and permissions 0.

    ``path`` is relative to the folder of the split, ``size`` is in bytes, ``mtime_ns`` is the time of the last change,
    ``readable`` are the permission bits for reading.
    """

    path: str
    size: int
    mtime_ns: int
    readable: int


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The image files of one split: ``root / files[i].path`` has class ``classes[labels[i]]``."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    labels: tuple[int, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Path of each image, relative to ``root``."""
        return tuple(file.path for file in self.files)

    def fingerprint(self) -> str:
        """SHA-256 of the names and sizes of all files; an unchanged copy on another node has the same one."""
        digest = hashlib.sha256(os.fsencode("/".join(self.classes)))
        for file in self.files:
            digest.update(os.fsencode(file.path) + f"\0{file.size}\0".encode())
        return digest.hexdigest()


def list_train_and_test(root: Path) -> tuple[ImageFiles, ImageFiles]:
    """List the training images and the held-out test images of ``root``.

    Layout: ``train/<class>/*`` and ``val/<class>/*`` (as in nature_12K) or ``test/<class>/*``, in any format that
    Pillow reads. If both ``val`` and ``test`` exist, ``test`` is the held-out split. Raises DataError for another
    layout.
    """
    if not os.path.isdir(root):
        with _as_data_error(), suppress(FileNotFoundError, NotADirectoryError):
            os.stat(root)  # a folder above may not be entered
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(
            f"{root} {what}; pass --data FOLDER with train/<class>/* and val/<class>/*, "
            f"or --data {DIGITS} for the built-in scans"
        )
    train = root / TRAIN
    if not os.path.isdir(train):
        _check_listable(root)
        raise DataError(f"no '{TRAIN}' folder in {root}; expected {TRAIN}/<class>/*{_nested_hint(root)}")
    held_out = [root / name for name in (VAL, TEST) if os.path.isdir(root / name)]
    if not held_out:
        raise DataError(
            f"no '{VAL}' or '{TEST}' folder in {root}; move the held-out test photos to {root / VAL}/<class>/*"
        )
    # If both exist, val/ is the validation split of another program and test/ the held-out one.
    training, test = list_split(train), list_split(held_out[-1])
    if training.classes != test.classes:
        differing = sorted(set(training.classes) ^ set(test.classes))
        raise DataError(
            f"{train} and {held_out[-1]} must have the same classes; only one has: {', '.join(differing[:5])}"
        )
    return training, test


def check_splittable(labels: Sequence[int], classes: Sequence[str], root: Path, val_share: float) -> None:
    """Raise DataError if these labels are too few to cut out a stratified validation split of ``val_share``."""
    counts = Counter(labels)
    if len(classes) < 2:
        raise DataError(f"{root} has the single class {classes[0]!r}; a classifier needs at least 2 class folders")
    for index, name in enumerate(classes):
        if counts[index] < 2:
            raise DataError(
                f"class {root / name} has {counts[index]} photo, and a class needs at least 2 (one to train, one to "
                "validate); add photos or remove the folder"
            )
    share = round(val_share * len(labels))
    if share < len(classes):
        raise DataError(
            f"{root} has {len(labels)} photos, so the validation split ({val_share:.0%}) would have {share}, fewer "
            f"than the {len(classes)} classes; add photos"
        )


def list_split(split: Path) -> ImageFiles:
    """List the images of the class folders in ``split``; DataError if there is no class, or a class without images."""
    with _as_data_error():
        classes = tuple(sorted(entry.name for entry in os.scandir(split) if _is_dir(entry) and _visible(entry.name)))
    if not classes:
        raise DataError(f"{split} has no class folders; expected {split}/<class>/*")
    files: list[ImageFile] = []
    labels: list[int] = []
    for index, name in enumerate(classes):
        with _as_data_error():
            found = sorted(_walk_images(split, name, set()))
        if not found:
            raise DataError(
                f"class folder {split / name} has no image files; add photos ({_some_suffixes()}) or remove it"
            )
        files += found
        labels += [index] * len(found)
    return ImageFiles(split, classes, tuple(files), tuple(labels))


def list_images(folder: Path) -> list[str]:
    """List the image files in and below ``folder``: sorted paths relative to it, without hidden files.

    DataError if there are none, or if a folder cannot be listed.
    """
    with _as_data_error():
        paths = sorted(file.path.removeprefix("./") for file in _walk_images(folder, ".", set()))
    if not paths:
        raise DataError(f"{folder} has no image files ({_some_suffixes()}) in it or its folders")
    return paths


def _walk_images(split: Path, folder: str, walked: set[str]) -> Iterator[ImageFile]:
    """Image files in and below ``split/folder``; one pass of scandir, as every worker of a search lists the tree."""
    # A link to a folder above would be walked for ever, and its images would get a wrong label.
    walked = walked | {os.path.realpath(split / folder)}
    with os.scandir(split / folder) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if not _visible(entry.name):
                continue
            if _is_image(entry.name) and not _is_dir(entry):
                yield _image_file(path, entry)
            elif _is_dir(entry) and not (entry.is_symlink() and _leads_back(entry.path, walked)):
                yield from _walk_images(split, path, walked)


@contextmanager
def _as_data_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot list {error.filename} ({error.strerror}); check its permissions") from error


def _check_listable(folder: Path) -> None:
    with _as_data_error():
        os.scandir(folder / ".").close()  # a folder that may be listed and not entered fails here, too


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link that leads to itself leads nowhere, as a dangling one
            raise
        return False


def _image_file(path: str, entry: os.DirEntry[str]) -> ImageFile:
    try:
        stat = entry.stat()
    except OSError:  # a dangling link, which the image store lists as unreadable
        return ImageFile(path, -1, 0, 0)
    return ImageFile(path, stat.st_size, stat.st_mtime_ns, stat.st_mode & 0o444)


def _leads_back(folder: str, walked: set[str]) -> bool:
    target = os.path.realpath(folder)
    return any(known == target or known.startswith(f"{target}{os.sep}") for known in walked)


def _is_image(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in COMMON_SUFFIXES or suffix in image_suffixes()


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """File name endings, in lower case with the dot, of the formats that this Pillow can read."""
    readable = {ending for ending, fmt in Image.registered_extensions().items() if fmt in Image.OPEN}
    # Pillow also opens these, but they are documents and videos.
    return frozenset(readable - {".pdf", ".mpg", ".mpeg", ".eps", ".ps"})


def _some_suffixes() -> str:
    return ".jpg, .png, .webp and whatever else Pillow reads"


def _visible(name: str) -> bool:
    return not name.startswith(".")  # .DS_Store, ._photo.jpg of macOS archives, .ipynb_checkpoints


def _nested_hint(root: Path) -> str:
    if (root.parent / TRAIN).is_dir():
        return f"; did you mean --data {root.parent}, the folder that contains it?"
    nested = [entry.path for entry in os.scandir(root) if os.path.isdir(os.path.join(entry.path, TRAIN))]
    return f"; did you mean --data {nested[0]}?" if nested else ""
