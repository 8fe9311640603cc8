"""Which checkpoints of a study are kept: those of the best k ended trials and of all running trials.

With --prefer-cheaper, those of trials that may be chosen in the place of the best one come first among the k.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from inat.constants import ANSWERS_JSON, BEST_CKPT, CHECKPOINTS_DIR, END_CKPT, RUNNING
from inat.study.cheaper import CostRule, better_than_all_cheaper
from inat.study.events import TRIAL_ID_PATTERN
from inat.study.study import Study
from inat.study.trial import Trial

KEPT = (BEST_CKPT, ANSWERS_JSON, END_CKPT)  # files of an ended trial


def checkpoint_threshold(study: Study, keep: int) -> float | None:
    """Return the value of the objective that a trial must reach to be among the best ``keep`` trials.

    None as long as fewer trials have a result. Below the threshold a trial need not write its weights.
    """
    ranking = study.ranking(keep)
    if len(ranking) < keep or ranking[-1].best_value is None or ranking[0].best_value is None:
        return None
    sign, allowance = study.objective.sign, CostRule.of(study.info).allowance(ranking[0])
    as_good = sign * ranking[0].best_value - allowance
    return sign * min(sign * ranking[-1].best_value, as_good) if allowance else ranking[-1].best_value


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
    kept = {trial.trial_id for trial in trials_to_keep(study, keep)}
    for directory in root.iterdir():
        trial = study.trials.get(directory.name)
        if not TRIAL_ID_PATTERN.fullmatch(directory.name) or (trial is not None and trial.state == RUNNING):
            continue
        if directory.name in kept:
            _remove_all_but(KEPT, directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def trials_to_keep(study: Study, keep: int) -> list[Trial]:
    """The ended trials whose weights are kept, at most ``keep``: the best ones.

    With --prefer-cheaper, the trials that may take the place of the best one come before them, the cheapest first: a
    trial that may be chosen in the end has been one of them ever since it ended.
    """
    ranking = study.ranking()
    if not ranking:
        return []
    chosen = better_than_all_cheaper(CostRule.of(study.info).as_good_as(ranking[0], ranking))
    in_order = {trial.trial_id: trial for trial in (chosen[0], ranking[0], *chosen, *ranking[:keep])}
    return list(in_order.values())[:keep]


def _remove_all_but(names: Collection[str], directory: Path) -> None:
    """Remove the other files, including those that a killed process left incomplete."""
    for path in directory.iterdir():
        if path.name not in names:
            path.unlink(missing_ok=True)
