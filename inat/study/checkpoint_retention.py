"""Which checkpoints of a study are kept: those of the best k ended trials and of all running trials."""

import shutil
from collections.abc import Collection
from pathlib import Path

from inat.constants import ANSWERS_JSON, BEST_CKPT, CHECKPOINTS_DIR, END_CKPT, RUNNING
from inat.study.events import TRIAL_ID_PATTERN
from inat.study.study import Study

KEPT = (BEST_CKPT, ANSWERS_JSON, END_CKPT)  # files of an ended trial


def checkpoint_threshold(study: Study, keep: int) -> float | None:
    """Return the value of the objective that a trial must reach to be among the best ``keep`` trials.

    None as long as fewer trials have a result. Below the threshold a trial need not write its weights.
    """
    ranking = study.ranking(keep)
    return ranking[-1].best_value if len(ranking) >= keep else None


def prune_checkpoints(study: Study, keep: int) -> None:
    """Remove all checkpoints except those of the best ``keep`` trials and the files of running trials.

    The answers of a trial on the validation images stay and go with its ``best.ckpt``, and so does the ``end.ckpt`` of
    a trial that could train longer. A folder that is not named like
    a trial stays: the user put it there. The folder of a trial that is not in the journal is removed: a power cut has
    erased the trial, and the next trial of that number would resume from its checkpoint.
    """
    root = study.directory / CHECKPOINTS_DIR
    if not root.is_dir():
        return
    kept = {trial.trial_id for trial in study.ranking(keep)}
    for directory in root.iterdir():
        trial = study.trials.get(directory.name)
        if not TRIAL_ID_PATTERN.fullmatch(directory.name) or (trial is not None and trial.state == RUNNING):
            continue
        if directory.name in kept:
            _remove_all_but(KEPT, directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_all_but(names: Collection[str], directory: Path) -> None:
    """Remove the other files, including those that a killed process left incomplete."""
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)
