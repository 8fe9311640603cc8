"""Several processes compute the rows of one store: each takes the next chunk of rows that is free.

The process that holds the lock of the store, its builder, writes the rows in order. Processes that wait for the store
help: they leave the rows of a chunk as a file beside the unfinished store, where the builder finds them.

In the directory of the unfinished store, the file ``open`` says that help is welcome, ``chunk-N.claim`` is locked by
the process that computes chunk N, and ``chunk-N.npy`` has the rows of the chunk that another process has computed.
"""

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Compute = Callable[[range], Iterable[NDArray[Any]]]
OPEN = "open"
POLL_SECONDS = 0.05  # between two looks at whether another process has computed the last chunks


def shared_rows(
    folder: Path, chunks: Sequence[range], compute: Compute, heartbeat: Callable[[], None] = lambda: None
) -> Iterator[NDArray[Any]]:
    """For the builder: all rows, in order and in batches; those of chunks that others have computed are read.

    ``folder`` is the directory of the unfinished store, which exists from the first row on. ``compute`` returns the
    rows of a chunk in batches. ``heartbeat`` is called while the builder waits for a chunk of another process.
    """
    (folder / OPEN).touch()
    try:
        for number, chunk in enumerate(chunks):
            if (claim := _claim(folder, number)) is not None:
                with claim:
                    yield from compute(chunk)
                continue
            while not _rows_file(folder, number).exists():
                if help_with(folder, chunks, compute):
                    continue
                if (claim := _take_over(folder, number)) is not None:
                    with claim:  # its process has died
                        if not _rows_file(folder, number).exists():
                            _write_rows(folder, number, compute(chunk))
                    continue
                heartbeat()
                time.sleep(POLL_SECONDS)
            yield np.load(_rows_file(folder, number))
            _rows_file(folder, number).unlink()
    finally:
        for left in (folder / OPEN, *folder.glob("chunk-*")):
            left.unlink(missing_ok=True)


def help_with(folder: Path, chunks: Sequence[range], compute: Compute) -> bool:
    """Compute the next free chunk of an unfinished store; False if there is none, or if the store is gone meanwhile."""
    with suppress(OSError):  # a full disk, too: the builder has to report it
        for number, chunk in enumerate(chunks):
            if not (folder / OPEN).exists():
                return False
            if (claim := _claim(folder, number)) is None:
                continue
            with claim:
                _write_rows(folder, number, compute(chunk))
            return True
    return False


def _claim(folder: Path, number: int) -> BinaryIO | None:
    """The locked claim of a chunk that no process has had yet; None if one has had it."""
    try:
        file = _claim_file(folder, number).open("xb")
    except FileExistsError:
        return None
    return _locked(file)


def _take_over(folder: Path, number: int) -> BinaryIO | None:
    """The claim of a chunk whose process has ended; None if it computes still."""
    return _locked(_claim_file(folder, number).open("rb"))


def _locked(file: BinaryIO) -> BinaryIO | None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _write_rows(folder: Path, number: int, batches: Iterable[NDArray[Any]]) -> None:
    rows = np.concatenate(list(batches))
    partial = folder / f"chunk-{number}.part"
    try:
        with partial.open("wb") as file:
            np.save(file, rows)
        partial.rename(_rows_file(folder, number))
    finally:
        partial.unlink(missing_ok=True)


def _claim_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number}.claim"


def _rows_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number}.npy"
