"""Which checkpoints of a study stay: those of its best k ended trials, and whatever running trials have."""

import re
import shutil
from pathlib import Path

from inat.constants import BEST_CKPT, CHECKPOINTS_DIR, RUNNING
from inat.study.study import Study

TRIAL_NAME = re.compile(r"t\d{4,}")


def checkpoint_threshold(study: Study, keep: int) -> float | None:
    """The validation accuracy that a new trial must reach to be among the best ``keep``; None: any will do."""
    ranking = study.ranking()
    return ranking[keep - 1].best_val_acc if len(ranking) >= keep else None


def prune_checkpoints(study: Study, keep: int) -> None:
    """Remove all checkpoints but the best ``keep`` trials' ``best.ckpt`` and whatever running trials have.

    What is not named like a trial is somebody else's and stays. What is, but unknown to the study, goes: a power cut
    has taken the trial out of the journal, and the next one of that number would go on from its checkpoint.
    """
    root = study.directory / CHECKPOINTS_DIR
    if not root.is_dir():
        return
    kept = {trial.trial_id for trial in study.ranking()[:keep]}
    for directory in root.iterdir():
        trial = study.trials.get(directory.name)
        if not TRIAL_NAME.fullmatch(directory.name) or (trial is not None and trial.state == RUNNING):
            continue
        if directory.name in kept:
            _remove_all_but(BEST_CKPT, directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_all_but(name: str, directory: Path) -> None:
    """Also what a process that was killed while it wrote has left half-written."""
    for path in directory.iterdir():
        if path.name != name:
            path.unlink(missing_ok=True)
