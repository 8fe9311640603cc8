"""The folder for the files of a private Ray session: closed to other users, and removed at the end.

Ray makes all its folders writable for everybody (mode 0777), so they lie in a folder that only its owner may enter. The
paths of Ray's sockets lie there too, and a system allows few bytes for them: a TMPDIR with a long path is passed over.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from rich.filesize import decimal

from inat.data.disk import free_bytes
from inat.errors import SearchError

SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
PREFIX = "inat-"
# What Ray appends to its folder, with the longest process id, and the name of the folder itself.
SOCKET = "/session_2026-11-29_12-55-55_132123_4194304/sockets/plasma_store"
FOLDER_BYTES = len(f"/{PREFIX}12345678/r")
MAX_BYTES = SOCKET_PATH_BYTES - len(SOCKET) - FOLDER_BYTES
LOG_BYTES = 50_000_000  # for the logs of Ray's servers and workers; a search of hours writes a few megabytes
SHARED_MEMORY = Path("/dev/shm")
LOCK = ".inat-session.lock"
NEW_SECONDS = 60.0  # a folder younger than that may be about to get its lock


@contextmanager
def ray_directory(object_store_bytes: int) -> Iterator[Path]:
    """Yield a new folder for `ray.init(_temp_dir=...)`; raise SearchError if no place has a short path and space.

    Ray's object store is a file there if the shared memory is too small for it. Folders of processes that were killed
    are removed.
    """
    place = _choose(LOG_BYTES + (0 if _shared_memory_holds(object_store_bytes) else object_store_bytes))
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))  # mode 0700
    try:
        with FileLock(folder / LOCK):
            yield folder / "r"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _choose(needed: int) -> Path:
    named = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR")]
    places = [Path(place).absolute() for place in (*named, "/tmp", "/var/tmp") if place]
    problems = {place: _problem(place, needed) for place in places}
    for place, problem in problems.items():
        if not problem:
            return place
    raise SearchError(
        f"Ray finds no place for its temporary files ({'; '.join(f'{p} {why}' for p, why in problems.items())}); set "
        f"TMPDIR to a folder whose path has at most {MAX_BYTES} bytes, with {decimal(needed)} free"
    )


def _problem(place: Path, needed: int) -> str:
    """Why Ray's files cannot be in ``place``; "" if they can."""
    if (length := len(os.fsencode(place))) > MAX_BYTES:
        return f"has a path of {length} bytes"
    if not place.is_dir():
        return "is no folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return "is not writable"
    free = free_bytes(place)
    return f"has {decimal(free)} free" if free < needed else ""


def _shared_memory_holds(size: int) -> bool:
    return SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free >= size


def _remove_abandoned(place: Path) -> None:
    """Remove the folders of this user whose lock nobody holds any more."""
    for lock in place.glob(f"{PREFIX}????????/{LOCK}"):
        with suppress(OSError, Timeout):
            status = lock.stat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > NEW_SECONDS:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent, ignore_errors=True)
