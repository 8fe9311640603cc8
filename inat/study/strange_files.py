"""Refuse a study directory in which writing would change files outside of it, or reading would never end.

A study that somebody else made may contain links. A link journal.jsonl that leads to ~/.bashrc would be cut and
appended to, and the removal of old checkpoints would empty the folder that a link checkpoints/t0003 leads to.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from analysis.files import MAX_TABLE_BYTES, is_inside
from inat.constants import (
    BEST_CKPT,
    BEST_JSON,
    CHECKPOINTS_DIR,
    ERRORS_DIR,
    FINAL_DIR,
    HISTORY_CSV,
    JOURNAL,
    LOCK_FILE,
    RAY_DIR,
    STUDY_DB,
    STUDY_JSON,
    TENSORBOARD_DIR,
    TRIALS_CSV,
)
from inat.errors import StudyError

TEXT_FILES = (STUDY_JSON, JOURNAL, TRIALS_CSV, HISTORY_CSV, BEST_JSON, LOCK_FILE)
FOLDERS = (CHECKPOINTS_DIR, ERRORS_DIR, FINAL_DIR, RAY_DIR, TENSORBOARD_DIR, "wandb")


def check_files(directory: Path) -> None:
    """Raise StudyError for a link that leads out of the study, and for a file that is a pipe, a device or endless."""
    for path in _written(directory):
        try:
            status = path.stat()
        except FileNotFoundError:
            if not path.is_symlink():
                continue
            status = None
        except OSError as error:
            raise StudyError(f"{path} cannot be read ({error.strerror}); restore it from a copy") from error
        if path.is_symlink() and not is_inside(path, directory):
            raise StudyError(
                f"{path} is a link to {os.readlink(path)}, outside of the study, where nothing may be changed; put "
                "what it leads to in its place, or remove the link"
            )
        if status is not None and not _is_usable(path.name, status):
            raise StudyError(f"{path} is no file or folder of a study; restore it from a copy, or remove it")


def _written(directory: Path) -> Iterator[Path]:
    """The files and folders that a search or inat.finalize writes or removes."""
    yield from (directory / name for name in (*TEXT_FILES, STUDY_DB, BEST_CKPT, *FOLDERS))
    for folder in (CHECKPOINTS_DIR, ERRORS_DIR, FINAL_DIR):
        yield from _entries(directory / folder, directory)
    for trial in _entries(directory / CHECKPOINTS_DIR, directory):
        yield from _entries(trial, directory)


def _entries(folder: Path, directory: Path) -> Iterator[Path]:
    if folder.is_dir() and is_inside(folder, directory):
        yield from folder.iterdir()


def _is_usable(name: str, status: os.stat_result) -> bool:
    if stat.S_ISDIR(status.st_mode):
        return name not in (*TEXT_FILES, STUDY_DB, BEST_CKPT)
    if name in FOLDERS or not stat.S_ISREG(status.st_mode):
        return False
    return name not in TEXT_FILES or status.st_size <= MAX_TABLE_BYTES
