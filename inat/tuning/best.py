"""best.json and best.ckpt: the best trial of a study and its only evaluation on the test split."""

import json
import shutil
from pathlib import Path
from typing import Any

from inat.config.trial import DataConfig
from inat.constants import BEST_CKPT, BEST_JSON, BEST_VAL_ACC, EPOCHS, NAME, TEST, TRIAL_ID
from inat.errors import DiskFullError, StudyError
from inat.study.atomic_io import atomic_replace, atomic_write
from inat.study.study import Study
from inat.study.trial import Trial


def write_best(study: Study) -> Trial | None:
    """Write the configuration and the weights of the best trial into the study directory, and return the trial.

    Both files are of the same trial: a trial whose weights are missing is skipped if another trial has weights. The
    weights of a backbone are completed by its frozen stages. Returns None if no trial has a result yet. Raises
    DiskFullError, and StudyError if the frozen stages cannot be found; best.json is then written without best.ckpt.
    """
    ranking = study.ranking()
    with_weights = (trial for trial in ranking if (study.checkpoint_dir(trial.trial_id) / BEST_CKPT).exists())
    best = next(with_weights, None) or next(iter(ranking), None)
    if best is None:
        return None
    content = {
        TRIAL_ID: best.trial_id, NAME: best.name, BEST_VAL_ACC: best.best_val_acc, EPOCHS: best.epochs,
        "params": best.params,
    }  # fmt: skip
    written = _read(study)
    weights, target = study.checkpoint_dir(best.trial_id) / BEST_CKPT, study.directory / BEST_CKPT
    if {name: written.get(name) for name in content} == content and (target.exists() or not weights.exists()):
        return best
    try:
        if weights.exists():
            _copy_weights(study, weights, target, complete="backbone" in best.params)
    except DiskFullError:
        raise
    except StudyError:  # the frozen stages cannot be found
        target.unlink(missing_ok=True)
        _write(study, content)
        raise
    _write(study, content)
    return best


def _copy_weights(study: Study, weights: Path, target: Path, complete: bool) -> None:
    with atomic_replace(target) as partial:
        if complete:
            from inat.training.checkpoint import (
                complete_checkpoint,  # loads torch, which the search itself does without
            )

            complete_checkpoint(weights, partial, study.info["config"].get("weights_dir"))
        else:
            shutil.copyfile(weights, partial)


def evaluate_best_on_test(study: Study, data_config: DataConfig) -> dict[str, float] | None:
    """Return the scores of best.ckpt on the held-out test split; best.json keeps them, so each model is tested once.

    Returns None if the study has no checkpoint, as with an objective that trains nothing.
    """
    weights = study.directory / BEST_CKPT
    content = _read(study)
    if TEST not in content and weights.exists():
        from inat.training.evaluation import evaluate  # loads torch, which the search itself does without

        content[TEST] = evaluate(weights, TEST, data_config)
        _write(study, content)
    return content.get(TEST)


def _read(study: Study) -> dict[str, Any]:
    path = study.directory / BEST_JSON
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def _write(study: Study, content: dict[str, Any]) -> None:
    atomic_write(study.directory / BEST_JSON, json.dumps(content, indent=2) + "\n")
