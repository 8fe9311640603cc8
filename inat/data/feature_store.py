"""Kept features as directories beside the stores of photographs, under the same rules.

One directory for each split and view, published whole: ``features.npy`` (N, ...) and ``manifest.json``, which says in
``dtype`` what its numbers are. It is never changed, so a map of it stays what it was.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from inat.constants import FEATURES_NPY, MANIFEST_JSON
from inat.data.image_store import cannot_write, lock_path
from inat.data.image_store_builder import BUILDING
from inat.errors import DataError

LOOK_EVERY_SECONDS = 1.0  # at whether another process has built what this one waits for


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Features of one split in one view: ``rows`` (N, ...), a map of the file, and torch's name of their type.

    numpy has no bfloat16: ``rows`` then holds its bits as uint16.
    """

    rows: NDArray[Any]
    dtype: str


def open_store(directory: Path) -> FeatureStore | None:
    """None if it is not there, or damaged by somebody's clean-up or a failing disk."""
    try:
        manifest = json.loads((directory / MANIFEST_JSON).read_text())
        store = FeatureStore(np.asarray(np.load(directory / FEATURES_NPY, mmap_mode="r")), manifest["dtype"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, EOFError):
        return None
    except OSError as error:
        raise DataError(f"cannot read {error.filename or directory} ({error.strerror}); check --cache-dir") from error
    with suppress(OSError):  # somebody else's cache
        os.utime(directory)  # when it was last used, for inat.data.cache
    return store


def build_missing(
    directories: Iterable[Path], build: Callable[[Path], object], heartbeat: Callable[[], None] = lambda: None
) -> None:
    """Call ``build`` for each directory that is not there, unless another process does: then wait until it has.

    Directories that another process is building come last, so several processes share the work. ``heartbeat`` is called
    about once per second of waiting. Raises DataError if they cannot be written, CacheFullError where the disk is full.
    """
    waiting = [directory for directory in directories if not _build_unless_busy(directory, build)]
    for directory in waiting:
        while not _build_unless_busy(directory, build, timeout=LOOK_EVERY_SECONDS):
            heartbeat()


def _build_unless_busy(directory: Path, build: Callable[[Path], object], timeout: float = 0) -> bool:
    """False if another process was at it for ``timeout`` seconds."""
    if open_store(directory) is not None:
        return True
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_path(directory), timeout=timeout):
            if open_store(directory) is None:  # nobody has built it meanwhile
                build(directory)
    except Timeout:
        return False
    except OSError as error:
        raise cannot_write(directory.parent, error) from error
    return True


def write_store(directory: Path, batches: Iterable[NDArray[Any]], count: int, manifest: Mapping[str, Any]) -> None:
    """Write ``batches`` of rows, ``count`` in all; the directory appears as a whole or not at all.

    The caller holds its lock.
    """
    with _published(directory) as building:
        with open(building / FEATURES_NPY, "wb") as file:
            for batch in batches:
                if not file.tell():
                    _write_header(file, batch, count)
                # Not into mapped memory, which would crash where the disk is full.
                file.write(np.ascontiguousarray(batch).data)
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave a published store with holes
        (building / MANIFEST_JSON).write_text(json.dumps(dict(manifest), indent=2))


def _write_header(file: Any, batch: NDArray[Any], count: int) -> None:
    described = np.lib.format.header_data_from_array_1_0(batch)
    np.lib.format.write_array_header_1_0(file, described | {"fortran_order": False, "shape": (count, *batch.shape[1:])})


@contextmanager
def _published(directory: Path) -> Iterator[Path]:
    building = directory.with_name(directory.name + BUILDING)
    shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
    building.mkdir()
    try:
        yield building
        shutil.rmtree(directory, ignore_errors=True)  # a damaged one
        os.replace(building, directory)
    finally:
        shutil.rmtree(building, ignore_errors=True)
