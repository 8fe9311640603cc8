"""A study directory before it is opened: study.json, the lock, and the newest study in a folder."""

import fcntl
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analysis.files import check_regular, read_json
from inat.constants import (
    GRID,
    HISTORY_CSV,
    JOURNAL,
    LOCK_FILE,
    OWN_OBJECTIVE,
    RAISED,
    RECIPE_PARAMS,
    SEARCH_KIND,
    STUDY_JSON,
    TRIALS_CSV,
)
from inat.errors import StudyError
from inat.study.digests import changed_fields

TYPES: dict[str, type | tuple[type, ...]] = {
    SEARCH_KIND: str, "space": dict, "seed": int, "data": dict, "start_from": list, "learned_from": dict, GRID: list,
    "weights": dict, "model": dict, "data.fingerprint": str, "data.classes": list, RECIPE_PARAMS: dict,
    OWN_OBJECTIVE: str, RAISED: list,
}  # fmt: skip
LOCK_SECONDS = 1.0  # to wait for the lock, which `is_running` of another process may hold for a moment


def read_info(directory: Path) -> dict[str, Any]:
    """Read study.json; raise StudyError if it is missing, unreadable, edited or has no configuration."""
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
    _check_types(info, path)
    if changed := changed_fields(info):
        raise StudyError(
            f"{path} was edited: {', '.join(changed)} differ from what its trials were run with; undo the edit, "
            "restore the file from a copy, or start a new study"
        )
    return info


def _check_types(info: dict[str, Any], path: Path) -> None:
    data = info.get("data", {})
    values = {name: info[name] for name in TYPES if name in info}
    values |= {f"data.{n}": data[n] for n in ("fingerprint", "classes") if isinstance(data, dict) and n in data}
    for name, value in values.items():
        if not isinstance(value, TYPES[name]) or isinstance(value, bool):
            raise StudyError(f"{path}: {name} is {value!r:.60}, which no search writes; restore the file from a copy")


def require(info: dict[str, Any], directory: Path, *names: str) -> None:
    """Raise StudyError if study.json lacks one of ``names``; "data.fingerprint" is a name within "data"."""
    for name in names:
        part, _, inner = name.partition(".")
        if part not in info or (inner and inner not in info[part]):
            raise StudyError(f"{directory / STUDY_JSON} has no {name}; restore it from a copy")


def check_journal(directory: Path) -> None:
    """Raise StudyError if the journal is missing or has no event while trials.csv has trials; a copy left it out."""
    journal, table = directory / JOURNAL, directory / TRIALS_CSV
    if not table.exists():
        return
    if not journal.exists():
        raise StudyError(f"{directory} has no {JOURNAL}, which a search needs to continue; copy the whole study again")
    with journal.open("rb") as file:
        has_event = file.readline().endswith(b"\n")
    rows = table.read_bytes().count(b"\n") - 1
    if rows > 0 and not has_event:
        raise StudyError(
            f"{journal} is empty, but {TRIALS_CSV} has {rows} {'row' if rows == 1 else 'rows'}; restore the journal "
            f"from a copy, or remove {TRIALS_CSV} and {HISTORY_CSV} to begin the search again"
        )


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
