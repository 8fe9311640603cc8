"""Open the decoded copies of a folder of images, which all trials of a node share; build the missing ones.

One directory per folder and image size (see ``inat.data.store``): ``images.npy`` (N, size, size, 3) uint8,
``labels.npy``, ``aspects.npy`` (width / height of the originals, 0 for unreadable images), ``thumbnails.npy``
(N, 32, 32, 3) uint8, ``names.json``, ``skipped.csv`` and ``manifest.json``. The name of the directory contains a hash
of the names, sizes, times of change and permissions of all files, so every state of the folder has a directory of its
own.
"""

import csv
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from analysis.escaping import unescape_csv_cell
from analysis.terminal import PlainConsole
from inat.constants import ASPECTS_NPY, IMAGES_NPY, LABELS_NPY, SKIPPED_CSV, THUMBNAILS_NPY
from inat.data.decode import Resize
from inat.data.image_files import ImageFiles
from inat.data.image_store_builder import FORMAT, build_stores
from inat.data.store import build_under_lock, read_store
from inat.data.thumbnails import SIDE
from inat.errors import DataError

MAX_NAME_BYTES = 80  # of the name of a folder in the name of a store


@dataclass(frozen=True, slots=True)
class ImageStore:
    """Decoded images of one folder at one size.

    ``images`` (N, size, size, 3) uint8 is a memory map of the file; ``labels`` (N,) int64; ``aspects`` (N,) float32 are
    width / height of the originals; ``rows`` are the indices of the readable images, as unreadable ones are black.
    ``skipped.csv`` in ``directory`` lists the unreadable ones.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    aspects: NDArray[np.float32]
    rows: NDArray[np.int64]
    directory: Path

    @property
    def skipped(self) -> int:
        """Number of unreadable images."""
        return len(self.labels) - len(self.rows)


def open_stores(
    files: ImageFiles, forms: Sequence[Resize | int], cache_dir: Path, max_bad_fraction: float
) -> list[ImageStore]:
    """Open the stores of ``files`` in these forms; one process builds missing stores while the others wait.

    A number is a side in pixels, to which whole images are squashed. All stores have the same ``rows``. Raises
    DataError if more than ``max_bad_fraction`` of the images are unreadable, if the disk is too small or if
    ``cache_dir`` cannot be written.
    """
    targets = [Resize(form) if isinstance(form, int) else form for form in forms]
    directories = {target: store_directory(files, target, cache_dir) for target in targets}
    stores = _open_all(directories) or _build_and_open(files, directories)
    _check_unreadable_share(files, stores[0], max_bad_fraction)
    return stores


def store_directory(files: ImageFiles, form: Resize | int, cache_dir: Path) -> Path:
    """The directory of the store of ``files`` in one form; a number is the side of squashed images in pixels.

    Its name has two folder names, for people, a hash and the form. The hash is of the decoder (the format of the store
    and Pillow's version), the place of the folder, and the names, sizes, times of change and read permissions of all
    files.
    """
    place = os.fsencode(files.root) + files.source.encode()
    digest = hashlib.sha256(b"%d\0%b\0%b\0" % (FORMAT, PIL.__version__.encode(), place))
    for file in files.files:
        digest.update(b"%b\0%d\0%d\0%d\0" % (os.fsencode(file.path), *file[1:]))
    name = f"{_for_people(files.root.parent)}-{_for_people(files.root)}-{digest.hexdigest()[:16]}"
    return cache_dir / f"{name}-{(Resize(form) if isinstance(form, int) else form).suffix}"


def _for_people(folder: Path) -> str:
    """The name of a folder, or its beginning: a name of the system may have 255 bytes, with all that is added."""
    name = os.fsencode(folder.name)
    return folder.name if len(name) <= MAX_NAME_BYTES else name[:MAX_NAME_BYTES].decode(errors="ignore")


def _build_and_open(files: ImageFiles, directories: Mapping[Resize, Path]) -> list[ImageStore]:
    any_directory = next(iter(directories.values()))  # all of them have the same lock

    def is_complete() -> bool:
        return _open_all(directories) is not None

    def build() -> None:
        missing = {form: directory for form, directory in directories.items() if _open(directory) is None}
        # None is missing if the stores differ in what could be read, as when a disk failed for a while: rebuild all.
        build_stores(files, missing or directories)

    if not build_under_lock(any_directory, is_complete, build, timeout=0):
        PlainConsole(stderr=True).print(f"waiting for another process that decodes {files.root}")
        build_under_lock(any_directory, is_complete, build)
    stores = _open_all(directories)
    # None if the new store differs from an older one in what could be read.
    return _build_and_open(files, directories) if stores is None else stores


def _open_all(directories: Mapping[Resize, Path]) -> list[ImageStore] | None:
    """Open all stores; None if one is missing or damaged, or if they differ in which images were readable."""
    stores = [store for directory in directories.values() if (store := _open(directory)) is not None]
    if len(stores) < len(directories) or any(not np.array_equal(store.rows, stores[0].rows) for store in stores):
        return None
    return stores


def _open(directory: Path) -> ImageStore | None:
    def read() -> ImageStore:
        labels, aspects = np.load(directory / LABELS_NPY), np.load(directory / ASPECTS_NPY)
        # Read-only: a private writable map counts as memory, and the system refuses one that is larger than its memory.
        images = np.asarray(np.load(directory / IMAGES_NPY, mmap_mode="r"))
        thumbnails = np.load(directory / THUMBNAILS_NPY, mmap_mode="r")
        if (
            images.shape[3:] != (3,)
            or images.dtype != np.uint8
            or not images.shape[:1] == thumbnails.shape[:1] == labels.shape == aspects.shape
            or (thumbnails.shape[1:], thumbnails.dtype) != ((SIDE, SIDE, 3), np.uint8)
        ):
            raise TypeError
        return ImageStore(images, labels, aspects, np.flatnonzero(aspects), directory)

    return read_store(directory, read)


def _check_unreadable_share(files: ImageFiles, store: ImageStore, max_bad_fraction: float) -> None:
    count, listing = len(store.labels), store.directory / SKIPPED_CSV
    if store.skipped <= max_bad_fraction * count:
        return
    first = ""
    with suppress(OSError), listing.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = islice(csv.DictReader(file), 3)
        first = "; ".join(f"{unescape_csv_cell(row.get('path') or '')}: {row.get('reason')}" for row in rows)
    enough = math.ceil(100 * store.skipped / count) / 100
    allow = f", or allow them with --max-bad-fraction {enough:g}" if enough < 1 else ""
    raise DataError(
        f"{store.skipped} of {count} photos in {files.root} cannot be read, more than the allowed "
        f"{max_bad_fraction:.1%} (first: {first}); remove or replace those listed in {listing}{allow}"
    )
