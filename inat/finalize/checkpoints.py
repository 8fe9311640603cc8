"""Checkpoints in final/, which need no other file to be read."""

import hashlib
from pathlib import Path

from inat.constants import FINAL_DIR
from inat.errors import StudyError
from inat.finalize.task import Task
from inat.study.atomic_io import atomic_replace
from inat.training.checkpoint import complete_checkpoint


def sha256_of(path: Path) -> str:
    """SHA-256 of a checkpoint; raises StudyError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        runs = next((folder for folder in path.parents if folder.parent.name == FINAL_DIR), path.parent)
        raise StudyError(
            f"the checkpoint {path} cannot be read ({error.strerror}); restore it, or remove {runs} to train again"
        ) from error


def write_checkpoint(task: Task, source: Path, target: Path) -> None:
    """Copy ``source`` with all its weights, so ``target`` needs no weights file beside it."""
    weights_dir = task.config.trial_settings().get("weights_dir")
    with atomic_replace(target) as partial:
        complete_checkpoint(source, partial, weights_dir)
