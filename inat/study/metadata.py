"""A study directory before it is opened: what it says of itself, and whether another process has it."""

import fcntl
import json
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from inat.constants import JOURNAL, LOCK_FILE, STUDY_JSON
from inat.errors import StudyError

LOCK_SECONDS = 1.0  # `is_running` may be looking at it just now


def read_info(directory: Path) -> dict[str, Any]:
    """study.json of a study; StudyError if it is not there."""
    path = directory / STUDY_JSON
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        others = sorted(p.parent for p in directory.parent.glob(f"*/{STUDY_JSON}")) if directory.parent.exists() else []
        hint = f"; there are: {', '.join(map(str, others[-5:]))}" if others else ""
        raise StudyError(f"no study in {directory} (no {STUDY_JSON}){hint}") from error
    except (ValueError, OSError) as error:
        raise StudyError(f"{path} cannot be read ({error}); restore it from a copy or start a new study") from error
    if not isinstance(info, dict) or not isinstance(info.get("config"), dict):
        raise StudyError(f"{path} has no configuration; restore it from a copy or start a new study")
    return info


def acquire_lock(directory: Path) -> FileLock:
    """The study's lock, held until it is released; StudyError if another process holds it."""
    lock = FileLock(directory / LOCK_FILE)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise StudyError(f"{directory} is being run by another process; wait for it or stop it first") from error
    except OSError as error:
        raise StudyError(f"{directory} is not writable ({error.strerror})") from error
    return lock


def is_running(directory: Path) -> bool:
    """Whether a process is running the study at this moment; nothing is written, so that it may be read-only.

    StudyError if the lock may not be read.
    """
    path = directory / LOCK_FILE
    try:
        file = path.open()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read ({error.strerror}); run this as the user who runs the study"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back when the file is closed
        except (BlockingIOError, PermissionError):  # some file systems call it the latter
            return True
    return False


def newest_study(storage: Path) -> Path:
    """The study in ``storage`` whose journal was written last; StudyError if there is none."""
    journals = [path for path in storage.glob(f"*/{JOURNAL}") if (path.parent / STUDY_JSON).exists()]
    if not journals:
        raise StudyError(f"no study in {storage.absolute()}; name its directory, or pass --storage-path")
    return max(journals, key=lambda path: path.stat().st_mtime).parent
