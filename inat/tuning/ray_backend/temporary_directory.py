"""Where the files of a private Ray session can be: a place with a short path, write permission and free space.

The paths of Ray's sockets lie there, and a system allows few bytes for them: a TMPDIR with a long path is passed over.
"""

import os
import shutil
import sys
from pathlib import Path

from rich.filesize import decimal

from inat.data.disk import free_bytes
from inat.errors import SearchError

SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
PREFIX = "inat-ray-"
FOLDER = f"/{PREFIX}12345678/r"  # made below the place, with tempfile.mkdtemp(prefix=PREFIX), for one session
# What Ray appends to it, with the longest process id.
SOCKET = "/session_2026-11-29_12-55-55_132123_4194304/sockets/plasma_store"
MAX_BYTES = SOCKET_PATH_BYTES - len(SOCKET) - len(FOLDER)
LOG_BYTES = 50_000_000  # for the logs of Ray's servers and workers; a search of hours writes a few megabytes
SHARED_MEMORY = Path("/dev/shm")


def temporary_place(object_store_bytes: int) -> Path:
    """Return RAY_TMPDIR, TMPDIR, /tmp or /var/tmp, the first that Ray can work in; SearchError if none is.

    Ray's object store is a file there if the shared memory is too small for it.
    """
    needed = LOG_BYTES + (0 if _shared_memory_holds(object_store_bytes) else object_store_bytes)
    named = [os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR")]
    problems: dict[Path, str] = {}
    for place in (Path(place).absolute() for place in (*named, "/tmp", "/var/tmp") if place):
        problems[place] = _problem(place, needed)
        if not problems[place]:
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
