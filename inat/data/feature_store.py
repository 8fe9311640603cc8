"""Stores of features: the outputs of frozen stages for one split in one view.

One directory per split and view, beside the image stores (see ``inat.data.store``): ``features.npy`` (N, ...) and
``manifest.json``, whose ``dtype`` names the type of the numbers.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.files import read_json
from inat.constants import FEATURES_NPY, MANIFEST_JSON
from inat.data.store import build_under_lock, publish, read_store

POLL_SECONDS = 1.0  # between two looks at whether another process has built a store that this one waits for


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Features of one split in one view.

    ``rows`` (N, ...) is a memory map of the file, ``dtype`` torch's name of its type. numpy has no bfloat16: its bits
    are stored as uint16.
    """

    rows: NDArray[Any]
    dtype: str


def open_store(directory: Path) -> FeatureStore | None:
    """Open a store; None if it is missing or damaged."""

    def read() -> FeatureStore:
        dtype = read_json(directory / MANIFEST_JSON)["dtype"]
        if not isinstance(dtype, str):
            raise TypeError
        return FeatureStore(np.asarray(np.load(directory / FEATURES_NPY, mmap_mode="r")), dtype)

    return read_store(directory, read)


def build_missing(
    directories: Iterable[Path], build: Callable[[Path], object], heartbeat: Callable[[], None] = lambda: None
) -> None:
    """Call ``build`` for each directory that holds no store, or wait while another process builds that store.

    Directories that another process is building come last, so several processes share the work. ``heartbeat`` is called
    about once per second of waiting. Raises DataError if they cannot be written, CacheFullError if the disk is full.
    """
    waiting = [directory for directory in directories if not _is_built(directory, build)]
    for directory in waiting:
        while not _is_built(directory, build, timeout=POLL_SECONDS):
            heartbeat()


def _is_built(directory: Path, build: Callable[[Path], object], timeout: float = 0) -> bool:
    """Build a missing store; False if another process was building it for ``timeout`` seconds."""

    def is_complete() -> bool:
        return open_store(directory) is not None

    return is_complete() or build_under_lock(directory, is_complete, lambda: build(directory), timeout)


def write_store(directory: Path, batches: Iterable[NDArray[Any]], count: int, manifest: Mapping[str, Any]) -> None:
    """Write ``batches`` of rows, ``count`` rows in total, as a store that is complete or absent.

    The caller holds the lock of the store.
    """
    with publish([directory]) as building, open(building[directory] / FEATURES_NPY, "wb") as file:
        for batch in batches:
            if not file.tell():
                _write_header(file, batch, count)
            # Not into a memory map, which would crash the process if the disk is full.
            file.write(np.ascontiguousarray(batch).data)
        file.flush()
        os.fsync(file.fileno())  # after a power cut a published store must have no holes
        (building[directory] / MANIFEST_JSON).write_text(json.dumps(dict(manifest), indent=2))


def _write_header(file: Any, batch: NDArray[Any], count: int) -> None:
    header = np.lib.format.header_data_from_array_1_0(batch)
    np.lib.format.write_array_header_1_0(file, header | {"fortran_order": False, "shape": (count, *batch.shape[1:])})
