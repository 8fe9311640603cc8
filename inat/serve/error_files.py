"""The error texts of a study, in its folder errors/: tracebacks, and where hanging trials hung."""

import os
import re
from pathlib import Path

from analysis.files import is_inside, read_bytes
from inat.constants import ERRORS_DIR, HANG_SUFFIX

MAX_BYTES = 2_000_000
# trial.txt, trial.hang.txt, and of earlier attempts trial-attempt-1.txt
NAME = re.compile(rf"(?P<trial>[\w.-]+?)(-attempt-\d+)?({re.escape(HANG_SUFFIX)}|\.txt)")


def find(study: Path) -> dict[str, list[Path]]:
    """The files of each trial that has any, by its id."""
    folder = study / ERRORS_DIR
    found: dict[str, list[Path]] = {}
    try:
        names = sorted(os.listdir(folder)) if is_inside(folder, study) else []
    except OSError:
        return {}
    for name in names:
        if match := NAME.fullmatch(name):
            found.setdefault(match["trial"], []).append(folder / name)
    return found


def read(path: Path, study: Path) -> str:
    """The text of one of these files, or why it cannot be read."""
    try:
        return read_bytes(path, MAX_BYTES, inside=study).decode("utf-8", errors="replace")
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
