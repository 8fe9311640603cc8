"""What the image stores and the feature stores of the cache have in common.

A store is a directory that is complete or absent: its files are written into a directory beside it, whose name ends in
``.building``, which is then renamed. A complete store never changes, so a memory map of it stays valid even after the
store was replaced. One process builds a store under a lock file, and the others wait for it. The modification time of
the directory says when a store was last opened (``python -m inat.data.cache`` lists it).
"""

import os
import pickle
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

from filelock import FileLock, Timeout

from inat.data.disk import cache_write_error
from inat.data.private_folder import check_trusted, create_private
from inat.errors import DataError

Store = TypeVar("Store")
BUILDING = ".building"
# What reading a file that is missing, cut, empty or of another kind raises.
UNREADABLE = (
    FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, LookupError, EOFError, TypeError,
    AttributeError, SyntaxError, RecursionError, ArithmeticError, MemoryError, pickle.UnpicklingError, BadZipFile,
)  # fmt: skip


def state_name(directory: Path) -> str:
    """Name of a store without its image size: all sizes of one state of a folder share this name."""
    return directory.name.removesuffix(BUILDING).rpartition("-")[0]


def lock_path(directory: Path) -> Path:
    """Lock file of a store. All sizes of one state of a folder share it, as they are built in one pass."""
    return directory.with_name(f"{state_name(directory)}.lock")


def read_store(directory: Path, read: Callable[[], Store]) -> Store | None:
    """Call ``read``, which reads the files of a store; None if files are missing or damaged.

    Somebody may have deleted some of them, or the disk may fail. DataError if the system refuses to read them.
    """
    check_trusted(directory.parent)
    check_trusted(directory)
    try:
        store = read()
    except UNREADABLE:
        return None
    except OSError as error:
        raise DataError(f"cannot read {error.filename or directory} ({error.strerror}); check --cache-dir") from error
    with suppress(OSError):  # the cache may belong to another user
        os.utime(directory)
    return store


def build_under_lock(
    directory: Path, is_complete: Callable[[], bool], build: Callable[[], object], timeout: float = -1
) -> bool:
    """Call ``build`` under the lock of ``directory``, unless another process has completed the store by then.

    False if another process held the lock for ``timeout`` seconds; -1 waits until the lock is free. DataError if the
    cache cannot be written, CacheFullError if its disk is full.
    """
    try:
        create_private(directory.parent)
        with FileLock(lock_path(directory), timeout=timeout):
            if not is_complete():
                _remove_abandoned(directory)
                build()
    except Timeout:
        return False
    except OSError as error:
        raise cache_write_error(directory.parent, error) from error
    return True


def _remove_abandoned(directory: Path) -> None:
    """Remove what killed processes left of unfinished stores beside ``directory``, whose lock this process holds.

    They may be large, and a store whose images have changed since is never built again.
    """
    for unfinished in directory.parent.glob(f"*{BUILDING}"):
        if lock_path(unfinished) != lock_path(directory):
            with suppress(OSError, Timeout), FileLock(lock_path(unfinished), timeout=0):
                shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def publish(targets: Collection[Path]) -> Iterator[dict[Path, Path]]:
    """Map each target to an empty directory to write to. At the end, these directories replace the targets.

    After an error nothing is left of them. The caller holds the lock of the targets.
    """
    building = {target: target.with_name(target.name + BUILDING) for target in targets}
    try:
        for directory in building.values():
            shutil.rmtree(directory, ignore_errors=True)  # left by a process that was killed
            directory.mkdir()
        yield building
        for target, directory in building.items():
            shutil.rmtree(target, ignore_errors=True)  # a damaged store
            os.replace(directory, target)
    finally:
        for directory in building.values():
            shutil.rmtree(directory, ignore_errors=True)
