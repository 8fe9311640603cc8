"""Whether a study is searched at this moment, or is only held by another command such as inat.finalize."""

from pathlib import Path

from analysis.files import read_json
from inat.constants import (
    BEST_JSON,
    FAILED,
    FINAL_DIR,
    JOURNAL,
    LAST_DIR,
    RETRAINING_DIR,
    SHIPPING_DIR,
    STUDY_JSON,
    TEST,
)
from inat.errors import StudyError
from inat.study.journal import Journal
from inat.study.metadata import is_running


def search_runs(directory: Path, *, over: bool = False) -> bool:
    """Whether a process that has the study open trains its trials; ``over``: all of them are known to have ended.

    A finished study stays ended while inat.finalize or a repair holds its lock. Raises StudyError if the lock file
    cannot be read.
    """
    if over or not is_running(directory):
        return False
    return not (is_tested(directory) or last_has_ended(directory) or _finalize_runs(directory))


def is_tested(directory: Path) -> bool:
    """Whether best.json has a test score, and the search has written and changed nothing since: its last step."""
    path = directory / BEST_JSON
    try:
        content = read_json(path, inside=directory)
    except (OSError, ValueError):
        return False
    # --resume begins with writing study.json.
    written = max(changed(directory / name) for name in (STUDY_JSON, JOURNAL, f"{LAST_DIR}/{JOURNAL}"))
    return isinstance(content, dict) and TEST in content and changed(path) >= written


def last_has_ended(directory: Path) -> bool:
    """Whether the last training of a time budget has a result: nothing can be added to its search."""
    folder = directory / LAST_DIR
    if not (folder / STUDY_JSON).exists():
        return False
    try:
        return any(trial.state != FAILED for trial in Journal.read(folder).ended())
    except StudyError:
        return False


def _finalize_runs(directory: Path) -> bool:
    return any(is_running(directory / FINAL_DIR / name) for name in (RETRAINING_DIR, SHIPPING_DIR))


def changed(path: Path) -> float:
    """When a file was written last, in seconds since 1970; 0 without it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
