"""Open the decoded copies of a folder of photographs, which all trials of a node share; build what is missing.

One directory a folder and size, published whole: ``images.npy`` (N, size, size, 3) uint8, ``labels.npy``,
``aspects.npy`` (width / height of the originals, 0 for what cannot be read), ``names.json``, ``skipped.csv`` and
``manifest.json``. Its name holds a hash of the files' names, sizes, times of change and permissions, so another state
of the folder is another directory.
"""

import csv
import hashlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from inat.constants import ASPECTS_NPY, IMAGES_NPY, LABELS_NPY, SKIPPED_CSV
from inat.data.image_folder import ImageFiles
from inat.data.image_store_builder import BUILDING, FORMAT, build_stores
from inat.errors import CacheFullError, DataError
from inat.study.atomic_io import NO_SPACE_ERRNOS


@dataclass(frozen=True, slots=True)
class ImageStore:
    """Decoded photographs of one folder at one size.

    ``images`` (N, size, size, 3) uint8, a map of the file; ``labels`` (N,) int64; ``aspects`` (N,) float32,
    width / height of the original; ``rows``: those that could be read, the others are black. ``directory`` holds
    ``skipped.csv``, which lists them.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    aspects: NDArray[np.float32]
    rows: NDArray[np.int64]
    directory: Path

    @property
    def skipped(self) -> int:
        """How many could not be read."""
        return len(self.labels) - len(self.rows)


def open_stores(photos: ImageFiles, sizes: Sequence[int], cache_dir: Path, max_bad_fraction: float) -> list[ImageStore]:
    """The stores of ``photos`` at ``sizes`` px; what is missing is built first, by one process while others wait.

    All have the same rows. Raises DataError if more than ``max_bad_fraction`` of the photographs cannot be read, if the
    disk is too small or ``cache_dir`` cannot be written.
    """
    wanted = {size: store_directory(photos, size, cache_dir) for size in sizes}
    stores = _open_all(wanted) or _build_and_open(photos, wanted, cache_dir)
    _refuse_too_many_bad(photos, stores[0], max_bad_fraction)
    return stores


def _build_and_open(photos: ImageFiles, wanted: Mapping[int, Path], cache_dir: Path) -> list[ImageStore]:
    path = lock_path(next(iter(wanted.values())))
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _patient_lock(path, photos):
            if not _open_all(wanted):  # nobody has built them meanwhile
                existing = {size: _open(directory) for size, directory in wanted.items()}
                missing = {size: directory for size, directory in wanted.items() if existing[size] is None}
                # Those that exist but differ, as when a disk failed for a while, are all built anew.
                build_stores(photos, missing or wanted)
    except OSError as error:
        raise cannot_write(cache_dir, error) from error
    stores = _open_all(wanted)
    if stores is None:  # the new one differs from the one that was there
        return _build_and_open(photos, wanted, cache_dir)
    return stores


@contextmanager
def _patient_lock(path: Path, photos: ImageFiles) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another process that decodes {photos.root}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def store_directory(photos: ImageFiles, size: int, cache_dir: Path) -> Path:
    """Where the store of ``photos`` at ``size`` px is: two folder names for people, a hash, the size.

    The hash is of what decodes (our format and Pillow's version), and of place, names, sizes in bytes, times of change
    and permissions to read of all files.
    """
    digest = hashlib.sha256(b"%d\0%b\0%b\0" % (FORMAT, PIL.__version__.encode(), os.fsencode(photos.root)))
    for file in photos.files:
        digest.update(b"%b\0%d\0%d\0%d\0" % (os.fsencode(file.path), *file[1:]))
    name = f"{photos.root.parent.name}-{photos.root.name}-{digest.hexdigest()[:16]}"
    return cache_dir / f"{name}-{size}px"


def lock_path(directory: Path) -> Path:
    """The lock of a store, the same for all sizes of one state of a folder, which are built in one pass."""
    return directory.with_name(f"{state_name(directory)}.lock")


def state_name(directory: Path) -> str:
    """The name of a store without its size: that of one state of a folder."""
    return directory.name.removesuffix(BUILDING).rpartition("-")[0]


def _open_all(wanted: Mapping[int, Path]) -> list[ImageStore] | None:
    """None if one is missing or damaged, or if they differ in what could be read."""
    stores = [store for directory in wanted.values() if (store := _open(directory)) is not None]
    if len(stores) < len(wanted) or any(not np.array_equal(store.rows, stores[0].rows) for store in stores):
        return None
    return stores


def _open(directory: Path) -> ImageStore | None:
    """None if it is not there, or damaged by somebody's clean-up or a failing disk."""
    try:
        labels, aspects = np.load(directory / LABELS_NPY), np.load(directory / ASPECTS_NPY)
        # Read-only: a private writable map counts as memory, and the system refuses one larger than it has.
        images = np.asarray(np.load(directory / IMAGES_NPY, mmap_mode="r"))
    except (FileNotFoundError, NotADirectoryError, ValueError, EOFError):
        return None
    except OSError as error:
        raise DataError(f"cannot read {error.filename or directory} ({error.strerror}); check --cache-dir") from error
    with suppress(OSError):  # somebody else's cache
        os.utime(directory)  # when it was last used, for inat.data.cache
    return ImageStore(images, labels, aspects, np.flatnonzero(aspects), directory)


def _refuse_too_many_bad(photos: ImageFiles, store: ImageStore, max_bad_fraction: float) -> None:
    count, listing = len(store.labels), store.directory / SKIPPED_CSV
    if store.skipped <= max_bad_fraction * count:
        return
    with listing.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        first = "; ".join(f"{row['path']}: {row['reason']}" for row in islice(csv.DictReader(file), 3))
    enough = math.ceil(100 * store.skipped / count) / 100
    raise DataError(
        f"{store.skipped} of {count} photos in {photos.root} cannot be read, more than the allowed "
        f"{max_bad_fraction:.1%} (first: {first}); remove or replace those listed in {listing}, or allow them with "
        f"--max-bad-fraction {enough:g}"
    )


def cannot_write(cache_dir: Path, error: OSError) -> DataError:
    """The error for a cache that the system refuses to write."""
    if error.errno in NO_SPACE_ERRNOS:
        return CacheFullError(f"the disk of {cache_dir} is full; free some space, or pass --cache-dir on a larger disk")
    return DataError(f"cannot write to {cache_dir} ({error.strerror}); choose another --cache-dir")
