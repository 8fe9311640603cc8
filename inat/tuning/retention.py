"""Which checkpoints of a study stay: those of its best k ended trials, and whatever running trials have."""

import shutil

from inat.constants import CHECKPOINTS_DIR, LAST_CKPT, RUNNING
from inat.results import Study


def threshold_of(study: Study, keep: int) -> float | None:
    """The validation accuracy that a new trial must reach to be among the best ``keep``; None: any will do."""
    ranking = study.ranking()
    return ranking[keep - 1].best_val_acc if len(ranking) >= keep else None


def prune(study: Study, keep: int) -> None:
    """Remove all checkpoints but the best ``keep`` trials' ``best.ckpt`` and whatever running trials have."""
    root = study.directory / CHECKPOINTS_DIR
    if not root.is_dir():
        return
    kept = {trial.trial_id for trial in study.ranking()[:keep]}
    for directory in root.iterdir():
        trial = study.trials.get(directory.name)
        if trial is not None and trial.state == RUNNING:
            continue
        if directory.name in kept:
            (directory / LAST_CKPT).unlink(missing_ok=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
