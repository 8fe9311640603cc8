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
    opened = _locked((folder / OPEN).open("wb"))
    try:
        for number, chunk in enumerate(chunks):
            if opened is None:  # a disk without locks: nobody can help
                yield from compute(chunk)
            elif (claim := _claim(folder, number)) is not None:
                with claim:
                    yield from compute(chunk)
            else:
                yield _rows_of_others(folder, chunks, number, compute, heartbeat)
    finally:
        for left in (folder / OPEN, *folder.glob("chunk-*")):
            left.unlink(missing_ok=True)
        if opened is not None:
            opened.close()


def _rows_of_others(
    folder: Path, chunks: Sequence[range], number: int, compute: Compute, heartbeat: Callable[[], None]
) -> NDArray[Any]:
    """The rows of a chunk that another process computes, or that this process has computed while it waited."""
    file = _rows_file(folder, number)
    while not file.exists():
        heartbeat()
        if help_with(folder, chunks[number:], compute, number):
            continue
        if (claim := _take_over(folder, number)) is None:
            time.sleep(POLL_SECONDS)
            continue
        with claim:  # its process has ended
            if not file.exists():
                _write_rows(folder, number, compute(chunks[number]))
    rows: NDArray[Any] = np.load(file)
    file.unlink()
    return rows


def wants_help(folder: Path) -> bool:
    """Whether a process builds the store in ``folder`` and lets others help."""
    return (folder / OPEN).exists()


def help_with(folder: Path, chunks: Sequence[range], compute: Compute, first: int = 0) -> bool:
    """Compute the next free chunk of an unfinished store; False if there is none, or if the store is gone meanwhile.

    ``first`` is the number of the first of ``chunks``.
    """
    with suppress(OSError):  # a full disk, too: the builder has to report it
        for number, chunk in enumerate(chunks, first):
            if not wants_help(folder):
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
    first, *more = batches
    rows = np.concatenate([first, *more]) if more else first
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
