"""Stores of features: the outputs of frozen stages for one split in one view.

One directory per split and view, beside the image stores (see ``inat.data.store``): ``features.npy`` (N, ...) and
``manifest.json``, whose ``dtype`` names the type of the numbers and whose ``crc32`` is the checksum of the other file.
A process verifies a store when it opens it for the first time; stores of earlier versions have no checksum.
"""

import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from analysis.files import read_json
from inat.constants import FEATURES_NPY, MANIFEST_JSON
from inat.data.lease import Lease, take_lease
from inat.data.store import build_under_lock, publish, read_store

POLL_SECONDS = 1.0  # between two looks at whether another process has built a store that this one waits for
CHUNK_BYTES = 1 << 22  # read at once to verify a store
CRC32 = "crc32"

# Files that this process has verified, each by its place on the disk, size and time of modification, and whether each
# is as it was written.
_verified: dict[tuple[int, int, int, int], bool] = {}


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Features of one split in one view.

    ``rows`` (N, ...) is a memory map of the file, ``dtype`` torch's name of its type. numpy has no bfloat16: its bits
    are stored as uint16. While ``lease`` is open, nobody removes the store.
    """

    rows: NDArray[Any]
    dtype: str
    lease: Lease | None = field(default=None, compare=False, repr=False)


def open_store(directory: Path) -> FeatureStore | None:
    """Open a store; None if it is missing or damaged. If its checksum is wrong, a line on stderr says so."""

    def read() -> FeatureStore:
        manifest = read_json(directory / MANIFEST_JSON)
        dtype, expected = manifest["dtype"], manifest.get(CRC32)
        if not isinstance(dtype, str):
            raise TypeError
        with _released_on_error(take_lease(directory / FEATURES_NPY)) as lease:
            rows = np.asarray(np.load(directory / FEATURES_NPY, mmap_mode="r"))
            if expected is not None and not _is_intact(directory / FEATURES_NPY, expected):
                raise ValueError
        return FeatureStore(rows, dtype, lease)

    return read_store(directory, read)


@contextmanager
def _released_on_error(lease: Lease | None) -> Iterator[Lease | None]:
    try:
        yield lease
    except BaseException:
        if lease is not None:
            lease.close()
        raise


def _is_intact(path: Path, expected: int) -> bool:
    """Whether a file has the checksum ``expected``; each file is read, and reported if it has not, once per process."""
    status = path.stat()
    key = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    if key not in _verified:
        _verified[key] = _crc32(path) == expected
        if not _verified[key]:
            print(f"the features in {path.parent} are damaged and are computed again", file=sys.stderr, flush=True)
    return _verified[key]


def _crc32(path: Path) -> int:
    checksum, buffer = 0, memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            checksum = zlib.crc32(buffer[:count], checksum)
    return checksum


def build_missing(
    directories: Iterable[Path], build: Callable[[Path], object], heartbeat: Callable[[], None] = lambda: None
) -> list[FeatureStore]:
    """Call ``build`` for each directory that holds no store, or wait while another process builds that store.

    Directories that another process is building come last, so several processes share the work. ``heartbeat`` is called
    about once per second of waiting. Raises DataError if they cannot be written, CacheFullError if the disk is full.

    Returns the stores, whose leases keep other processes from removing one while the next is built.
    """
    opened: dict[Path, FeatureStore] = {}
    waiting = [directory for directory in directories if not _is_built(directory, build, opened)]
    for directory in waiting:
        while not _is_built(directory, build, opened, timeout=POLL_SECONDS):
            heartbeat()
    return list(opened.values())


def _is_built(
    directory: Path, build: Callable[[Path], object], opened: dict[Path, FeatureStore], timeout: float = 0
) -> bool:
    """Build a missing store; False if another process was building it for ``timeout`` seconds."""

    def is_complete() -> bool:
        store = open_store(directory)
        if store is not None:
            opened[directory] = store
        return store is not None

    def build_and_open() -> None:
        build(directory)
        is_complete()

    return is_complete() or build_under_lock(directory, is_complete, build_and_open, timeout)


def write_store(directory: Path, batches: Iterable[NDArray[Any]], count: int, manifest: Mapping[str, Any]) -> None:
    """Write ``batches`` of rows, ``count`` rows in total, as a store that is complete or absent.

    The caller holds the lock of the store.
    """
    with publish([directory]) as building, open(building[directory] / FEATURES_NPY, "wb") as file:
        checked = _CheckedFile(file)
        for batch in batches:
            if not file.tell():
                _write_header(checked, batch, count)
            # Not into a memory map, which would crash the process if the disk is full.
            checked.write(np.ascontiguousarray(batch).data)
        file.flush()
        os.fsync(file.fileno())  # after a power cut a published store must have no holes
        content = dict(manifest) | {CRC32: checked.crc32}
        (building[directory] / MANIFEST_JSON).write_text(json.dumps(content, indent=2))


class _CheckedFile:
    """Passes what is written on to a file, and keeps its checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.crc32 = file, 0

    def write(self, data: Any) -> int:
        self.crc32 = zlib.crc32(data, self.crc32)
        return self.file.write(data)


def _write_header(file: Any, batch: NDArray[Any], count: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(batch)
    np.lib.format.write_array_header_1_0(file, header | {"fortran_order": False, "shape": (count, *batch.shape[1:])})
