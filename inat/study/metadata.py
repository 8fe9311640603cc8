"""A study directory before it is opened: study.json, the lock, and the newest study in a folder."""

import fcntl
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analysis.files import check_regular, read_json
from inat.constants import JOURNAL, LOCK_FILE, STUDY_JSON
from inat.errors import StudyError

LOCK_SECONDS = 1.0  # to wait for the lock, which `is_running` of another process may hold for a moment


def read_info(directory: Path) -> dict[str, Any]:
    """Read study.json; raise StudyError if it is missing, unreadable or has no configuration."""
    path = directory / STUDY_JSON
    try:
        info = read_json(path, inside=directory)
    except FileNotFoundError as error:
        parent = directory.parent
        studies = sorted(path.parent for path in parent.glob(f"*/{STUDY_JSON}")) if parent.exists() else []
        hint = f"; there are: {', '.join(map(str, studies[-5:]))}" if studies else ""
        raise StudyError(f"no study in {directory} (no {STUDY_JSON}){hint}") from error
    except (ValueError, OSError) as error:
        raise StudyError(f"{path} cannot be read ({error}); restore it from a copy or start a new study") from error
    if not isinstance(info, dict) or not isinstance(info.get("config"), dict):
        raise StudyError(f"{path} has no configuration; restore it from a copy or start a new study")
    return info


def acquire_lock(directory: Path) -> FileLock:
    """Acquire the lock of a study directory; the caller releases it.

    Raises StudyError if another process holds the lock or the directory is not writable.
    """
    lock = FileLock(directory / LOCK_FILE)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise StudyError(f"{directory} is being run by another process; wait for it or stop it first") from error
    except OSError as error:
        raise StudyError(f"{directory} is not writable ({error.strerror})") from error
    return lock


def is_running(directory: Path) -> bool:
    """Check whether a process has the study open. Writes nothing, so the directory may be read-only.

    Raises StudyError if the lock file cannot be read.
    """
    path = directory / LOCK_FILE
    try:
        check_regular(path)
        file = path.open()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read ({error.strerror}); run this as the user who runs the study"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # released when the file is closed
        except (BlockingIOError, PermissionError):  # some file systems raise the latter for a lock that is held
            return True
    return False


def newest_study(storage: Path) -> Path:
    """Return the study in ``storage`` whose journal was written last; raise StudyError if there is no study."""
    journals = [path for path in storage.glob(f"*/{JOURNAL}") if (path.parent / STUDY_JSON).exists()]
    if not journals:
        raise StudyError(f"no study in {storage.absolute()}; name its directory, or pass --storage-path")
    return max(journals, key=lambda path: path.stat().st_mtime).parent
