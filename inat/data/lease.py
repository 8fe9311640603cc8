"""Leases on the stores of the cache: a process that reads a store holds one, and nobody removes the store meanwhile.

A lease is a shared lock of the system on a file of the store, so it ends with its process, whatever happens to that.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from weakref import finalize


class Lease:
    """Holds a shared lock on a file, until nothing refers to the lease any more or it is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self.close = finalize(self, file.close)


def take_lease(path: Path) -> Lease | None:
    """Hold a lease on ``path``; None where the disk has no locks.

    Raises FileNotFoundError if the file is gone, or if its store is being removed.
    """
    file = path.open("rb")
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise FileNotFoundError(path) from error
    except OSError:
        file.close()
        return None
    gone = True
    with suppress(OSError):
        gone = not os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    if gone:  # removed, or replaced, between the two calls
        file.close()
        raise FileNotFoundError(path)
    return Lease(file)


@contextmanager
def nobody_reads(path: Path) -> Iterator[bool]:
    """Keep others from taking a lease on ``path``; False if somebody holds one, or if that cannot be known."""
    try:
        file = path.open("rb")
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
