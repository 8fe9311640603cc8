"""Find the photographs of a class-folder tree and refuse trees that cannot be trained on."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from inat.constants import DIGITS, TEST, TRAIN, VAL
from inat.errors import DataError

# Known without asking Pillow, which takes 0.1 s to load all its formats.
COMMON_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


class Found(NamedTuple):
    """A file of a class folder: path below the split, bytes, time of the last change, permission to read.

    -1, 0 and 0 for a dangling link.
    """

    path: str
    size: int
    mtime_ns: int
    readable: int


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The photographs of one split: ``root/files[i].path`` has class ``classes[labels[i]]``."""

    root: Path
    classes: tuple[str, ...]
    files: tuple[Found, ...]
    labels: tuple[int, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Where each photograph is, relative to ``root``."""
        return tuple(file.path for file in self.files)

    def fingerprint(self) -> str:
        """SHA-256 over names and sizes in bytes; equal for an unchanged copy of the tree on another machine."""
        digest = hashlib.sha256(os.fsencode("/".join(self.classes)))
        for file in self.files:
            digest.update(os.fsencode(file.path) + f"\0{file.size}\0".encode())
        return digest.hexdigest()


def list_train_and_test(root: Path) -> tuple[ImageFiles, ImageFiles]:
    """The training photographs and the held-out test ones of ``root``.

    Layout: ``train/<class>/*`` and ``val/<class>/*`` (as in nature_12K) or ``test/<class>/*``; any image format
    Pillow reads. Raises DataError, naming path and next step, if the tree is not like that.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(
            f"{root} {what}; pass --data FOLDER with train/<class>/* and val/<class>/*, "
            f"or --data {DIGITS} for the built-in scans"
        )
    train = root / TRAIN
    if not train.is_dir():
        raise DataError(f"no '{TRAIN}' folder in {root}; expected {TRAIN}/<class>/*{_nested_hint(root)}")
    held_out = [root / name for name in (VAL, TEST) if (root / name).is_dir()]
    if not held_out:
        raise DataError(
            f"no '{VAL}' or '{TEST}' folder in {root}; move the held-out test photos to {root / VAL}/<class>/*"
        )
    # With both present, val/ is somebody's validation split and test/ is the one to report.
    photos, test = list_split(train), list_split(held_out[-1])
    if photos.classes != test.classes:
        differing = sorted(set(photos.classes) ^ set(test.classes))
        raise DataError(
            f"{train} and {held_out[-1]} must have the same classes; only one has: {', '.join(differing[:5])}"
        )
    return photos, test


def check_splittable(labels: Sequence[int], classes: Sequence[str], root: Path, val_share: float) -> None:
    """Raise DataError if a stratified validation split of ``val_share`` cannot be cut out of these labels."""
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
    """The photographs of the class folders in ``split``; DataError if there are none, or a class has none."""
    classes = tuple(sorted(entry.name for entry in os.scandir(split) if entry.is_dir() and _visible(entry.name)))
    if not classes:
        raise DataError(f"{split} has no class folders; expected {split}/<class>/*")
    files: list[Found] = []
    labels: list[int] = []
    for index, name in enumerate(classes):
        found = sorted(_photos_below(split, name, set()))
        if not found:
            raise DataError(
                f"class folder {split / name} has no image files; add photos ({_some_suffixes()}) or remove it"
            )
        files += found
        labels += [index] * len(found)
    return ImageFiles(split, classes, tuple(files), tuple(labels))


def list_images(folder: Path) -> list[str]:
    """Image files in and below ``folder``, relative to it and sorted; hidden ones are left out.

    DataError if there are none, or if a folder cannot be listed.
    """
    try:
        paths = sorted(found.path.removeprefix("./") for found in _photos_below(folder, ".", set()))
    except OSError as error:
        raise DataError(f"cannot list {error.filename} ({error.strerror}); check its permissions") from error
    if not paths:
        raise DataError(f"{folder} has no image files ({_some_suffixes()}) in it or its folders")
    return paths


def _photos_below(split: Path, folder: str, walked: set[str]) -> Iterator[Found]:
    """Image files in and below ``split/folder``; one pass of scandir, as a search opens its tree in every worker."""
    # A link to a folder above would be walked for ever, and lend its photos a wrong label.
    walked = walked | {os.path.realpath(split / folder)}
    with os.scandir(split / folder) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if not _visible(entry.name):
                continue
            if _is_image(entry.name) and not entry.is_dir():
                yield _found(path, entry)
            elif entry.is_dir() and not (entry.is_symlink() and _leads_back(entry.path, walked)):
                yield from _photos_below(split, path, walked)


def _found(path: str, entry: os.DirEntry[str]) -> Found:
    try:
        stat = entry.stat()
    except OSError:  # a dangling link: the store lists it among the unreadable
        return Found(path, -1, 0, 0)
    return Found(path, stat.st_size, stat.st_mtime_ns, stat.st_mode & 0o444)


def _leads_back(folder: str, walked: set[str]) -> bool:
    target = os.path.realpath(folder)
    return any(known == target or known.startswith(f"{target}{os.sep}") for known in walked)


def _is_image(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in COMMON_SUFFIXES or suffix in image_suffixes()


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """File endings, lower case with the dot, of the formats that this Pillow can read."""
    readable = {ending for ending, fmt in Image.registered_extensions().items() if fmt in Image.OPEN}
    # Pillow also opens these, but they are documents and video, not photographs.
    return frozenset(readable - {".pdf", ".mpg", ".mpeg", ".eps", ".ps"})


def _some_suffixes() -> str:
    return ".jpg, .png, .webp and whatever else Pillow reads"


def _visible(name: str) -> bool:
    return not name.startswith(".")  # .DS_Store, ._photo.jpg of macOS archives, .ipynb_checkpoints


def _nested_hint(root: Path) -> str:
    nested = [entry.path for entry in os.scandir(root) if entry.is_dir() and (Path(entry.path) / TRAIN).is_dir()]
    return f"; did you mean --data {nested[0]}?" if nested else ""
