"""Refuse a study directory in which writing would change files outside of it, or reading would never end.

A study that somebody else made may contain links. A link journal.jsonl that leads to ~/.bashrc would be cut and
appended to, and the removal of old checkpoints would empty the folder that a link checkpoints/t0003 leads to.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from analysis.files import MAX_TABLE_BYTES, is_inside
from analysis.schema import PREDICTIONS_JSON
from inat.constants import (
    BEST_CKPT,
    BEST_JSON,
    CHECKPOINTS_DIR,
    ERRORS_DIR,
    FINAL_DIR,
    HISTORY_CSV,
    JOURNAL,
    LAST_DIR,
    LOCK_FILE,
    MODEL_DIR,
    PRECISION_JSONL,
    RAY_DIR,
    RUN_YAML,
    STUDY_DB,
    STUDY_JSON,
    TENSORBOARD_DIR,
    TRIALS_CSV,
)
from inat.errors import StudyError

TEXT_FILES = (
    STUDY_JSON,
    JOURNAL,
    TRIALS_CSV,
    HISTORY_CSV,
    BEST_JSON,
    LOCK_FILE,
    PRECISION_JSONL,
    PREDICTIONS_JSON,
    RUN_YAML,
)
WANDB_DIR = "wandb"
FOLDERS = (
    CHECKPOINTS_DIR, ERRORS_DIR, FINAL_DIR, LAST_DIR, RAY_DIR, TENSORBOARD_DIR, WANDB_DIR, "interpret", "data",
    "figures", "tables", MODEL_DIR,
)  # fmt: skip


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
    folders = [*(directory / name for name in FOLDERS), *directory.glob("removed-*")]  # the latter from a repair
    yield from (*(directory / name for name in (*TEXT_FILES, STUDY_DB, BEST_CKPT)), *folders)
    for folder in folders:
        if not folder.is_symlink():
            yield from _strange_below(folder)


def _strange_below(folder: Path) -> Iterator[Path]:
    """The links, pipes and devices below a folder, at any depth: libraries write there under names of their own."""
    for place, folders, files in os.walk(folder):  # which follows no link
        for path in (Path(place, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or _is_log_of_wandb(path)):
                yield path


def _is_log_of_wandb(path: Path) -> bool:
    """Whether W&B has made this link to its own log below the home folder; nothing is written through it."""
    return path.name == "debug-core.log" and path.parent.name == "logs" and path.parts[-4:-3] == (WANDB_DIR,)


def _is_usable(name: str, status: os.stat_result) -> bool:
    if stat.S_ISDIR(status.st_mode):
        return name not in (*TEXT_FILES, STUDY_DB, BEST_CKPT)
    if name in FOLDERS or not stat.S_ISREG(status.st_mode):
        return False
    return name not in TEXT_FILES or status.st_size <= MAX_TABLE_BYTES
