"""best.json and best.ckpt: the best trial of a study and its only evaluation on the test split."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inat.config.trial import DataConfig
from inat.constants import (
    BEST_CKPT,
    BEST_JSON,
    CHEAPER_THAN,
    CHECKPOINTS_DIR,
    EPOCHS,
    LAST_DIR,
    LAST_TRAINING,
    NAME,
    PARETO_FRONT,
    REFIT,
    STANDARD_ERROR,
    TEST,
    TRIAL_ID,
    VALIDATION_NOISE,
)
from inat.errors import DiskFullError, StudyError
from inat.study.atomic_io import atomic_replace, atomic_write
from inat.study.cheaper import CostRule
from inat.study.checkpoint_file import is_intact, sha256_of
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.best_json import FOLD_VALUES, MODELS_TESTED, SHA256, is_about, is_as_written, read_best, refit_json
from inat.tuning.chosen_model import Model
from inat.tuning.last_model import last_training, only_copy_of_last_training
from inat.tuning.refit import refit_problem

# What best.json says about other trials; it may change while the best model is the same.
_BESIDE = (VALIDATION_NOISE, CHEAPER_THAN, PARETO_FRONT)


def best_model(journal: Journal, directory: Path) -> Model | None:
    """The best trial of the study ``directory``, or its last training if that is at least as good.

    A last training on the validation images, too, has no value to compare: its weights are taken unless it went wrong.
    With --prefer-cheaper, the cheapest trial of those that are as good as the best one takes its place.
    """
    last = last_training(directory)
    if last is not None and last.refit is not None:
        return _refitted(journal, directory, last) or _best_of_search(journal, directory)
    chosen = _best_of_search(journal, directory)
    if chosen is None or last is None or (chosen.better is not None and last.trial_id != chosen.trial_id):
        return chosen
    assert chosen.trial.best_value is not None
    assert last.trial.best_value is not None
    if not journal.objective.reaches(last.trial.best_value, chosen.trial.best_value):
        return chosen
    repeated = journal.trials.get(last.trial_id)
    return replace(last, name=last.name if repeated is None else repeated.name, better=chosen.better)


def _refitted(journal: Journal, directory: Path, last: Model) -> Model | None:
    """The trial that ``last`` repeats, with the weights of ``last``; None if they are not to be used."""
    if refit_problem(journal, _info(journal, directory), last):
        return None
    trial, leader = journal.trials[last.trial_id], journal.best()
    better = None if leader is trial else leader
    return Model(trial.trial_id, trial.name, trial, last.weights, better=better, refit=last.refit)


def _best_of_search(journal: Journal, directory: Path) -> Model | None:
    """The best trial of the search ``directory`` with its own weights; None without a result."""
    leader = best_with_weights(journal, directory)
    if leader is None:
        return None
    best = chosen_for_cost(journal, directory, leader)
    better = None if best is leader else leader
    return Model(best.trial_id, best.name, best, weights_of(journal, directory, best), better=better)


def _info(journal: Journal, directory: Path) -> Mapping[str, Any]:
    return journal.info if isinstance(journal, Study) else read_info(directory)


def chosen_for_cost(journal: Journal, directory: Path, best: Trial) -> Trial:
    """The trial that --prefer-cheaper puts in the place of ``best``; ``best`` itself without this option.

    If ``best`` has weights, so has the trial that takes its place.
    """
    rule = CostRule.of(_info(journal, directory))
    if not rule.prefers_cheaper:
        return best
    with_weights = is_intact(weights_of(journal, directory, best))
    as_good = rule.as_good_as(best, journal.ranking())
    return next(t for t in as_good if t is best or not with_weights or is_intact(weights_of(journal, directory, t)))


def named_in_best_json(journal: Journal, directory: Path) -> Trial | None:
    """The trial of ``journal`` that best.json names because it costs less than the best one; None for the best one.

    A search writes best.json when it ends, so this is for a study that no process is running.
    """
    try:
        written = read_best(directory)
    except StudyError:
        return None
    return journal.trials.get(written.get(TRIAL_ID, "")) if CHEAPER_THAN in written else None


def write_best(study: Study, *, named: bool = True) -> Model | None:
    """Write the configuration and the weights of the best model into the study directory, and return the model.

    If the last training of a study with a time plan is at least as good, its weights and values are written instead;
    of one on the validation images, too, only the weights, beside the values of the trial that it repeats.
    Both files are of the same trial: a trial whose weights are missing or damaged is skipped if another trial has
    weights. best.json keeps the checksum of best.ckpt, which is written again if it has another one. The weights of a
    backbone are completed by its frozen stages. best.json also says how many trials cannot be told from the best one
    (``analysis.noise``), which trials have no cheaper one that is as good, and of a model that was chosen because it
    costs less, which trial is better. ``named``: the user has named the folder of published weights in
    study.json; else it is not used. Returns None if no trial has a result yet. Raises DiskFullError, and StudyError if
    the frozen stages cannot be found; best.json is then written without best.ckpt.
    """
    model = best_model(study, study.directory)
    if model is None:
        return None
    trained = model.trial
    content: dict[str, Any] = {
        TRIAL_ID: model.trial_id, NAME: model.name,
        study.objective.best_column: trained.best_value, EPOCHS: trained.epochs, "params": trained.params,
    }  # fmt: skip
    if model.refit is not None:
        content[REFIT] = refit_json(model.refit)
    if model.last:
        content[LAST_TRAINING] = True
    elif trained.folded:
        content |= {STANDARD_ERROR: trained.standard_error, FOLD_VALUES: trained.fold_values}
    written = read_best(study.directory)
    weights, target = model.weights, study.directory / BEST_CKPT
    beside = _beside(study, model)
    if is_about(written, content) and is_as_written(target, written):
        if {name: written[name] for name in _BESIDE if name in written} != beside:  # more trials, or another version
            _write(study, {name: value for name, value in written.items() if name not in _BESIDE} | beside)
        return model
    if only_copy_of_last_training(study.directory):
        raise StudyError(
            f"{study.directory / LAST_DIR} is damaged or gone, and {target} has the only copy of its weights; restore "
            f"that folder, or move {BEST_JSON} and {BEST_CKPT} elsewhere to have the best trial of the search instead"
        )
    try:
        if is_intact(weights):
            folder = study.info["config"].get("weights_dir") if named else ""
            _copy_weights(weights, target, folder, complete="backbone" in trained.params)
            content[SHA256] = sha256_of(target)
    except DiskFullError:
        raise
    except StudyError:  # the frozen stages cannot be found
        target.unlink(missing_ok=True)
        _write(study, content | beside)
        raise
    if SHA256 not in content and target.exists() and not is_intact(target):
        raise StudyError(f"{target} is damaged, and so is or gone {weights}; restore one of them from a copy")
    if is_about(written, content) and TEST in written:
        content[TEST] = written[TEST]  # of the same weights
    content |= {MODELS_TESTED: written[MODELS_TESTED]} if MODELS_TESTED in written else {}
    _write(study, content | beside)
    return model


def _beside(study: Study, model: Model) -> dict[str, Any]:
    # Both load pandas and SciPy, which a search ends without.
    from inat.tuning.pareto import cheaper_json, front_json
    from inat.tuning.validation_noise import noise_of

    noise, front = noise_of(study, model.leader), front_json(study, study.info)
    content = {} if noise is None else {VALIDATION_NOISE: noise.to_json()}
    if model.better is not None:
        content[CHEAPER_THAN] = cheaper_json(model, CostRule.of(study.info))
    return content | ({PARETO_FRONT: front} if front else {})


def best_with_weights(journal: Journal, directory: Path) -> Trial | None:
    """Return the best trial with intact weights in the study ``directory``, or the best one if no trial has weights."""
    with_weights = (trial for trial in journal.ranking() if is_intact(weights_of(journal, directory, trial)))
    return next(with_weights, None) or journal.best()


def weights_of(journal: Journal, directory: Path, trial: Trial) -> Path:
    """Where the weights of an ended trial are, if they are kept.

    A trial that goes on with more epochs replaces its own; those of its former result are in best.ckpt if best.json is
    about it.
    """
    own = directory / CHECKPOINTS_DIR / trial.trial_id / BEST_CKPT
    if journal.trials[trial.trial_id] is trial:
        return own
    written, column = read_best(directory), trial.objective.best_column
    is_written = (written.get(TRIAL_ID), written.get(column)) == (trial.trial_id, trial.best_value)
    return directory / BEST_CKPT if is_written else own.with_name("replaced")


def _copy_weights(weights: Path, target: Path, weights_dir: str | None, complete: bool) -> None:
    with atomic_replace(target) as partial:
        if complete:
            from inat.training.checkpoint import (
                complete_checkpoint,  # loads torch, which the search itself does without
            )

            complete_checkpoint(weights, partial, weights_dir)
        else:
            shutil.copyfile(weights, partial)


def evaluate_best_on_test(study: Study, data_config: DataConfig) -> dict[str, float] | None:
    """Return the scores of best.ckpt on the held-out test split; best.json keeps them, so each model is tested once.

    Returns None if the study has no checkpoint, as with an objective that trains nothing.
    """
    weights = study.directory / BEST_CKPT
    content = read_best(study.directory)
    if TEST not in content and weights.exists():
        from inat.training.evaluation import evaluate  # loads torch, which the search itself does without

        content[TEST] = evaluate(weights, TEST, data_config)
        content[MODELS_TESTED] = content.get(MODELS_TESTED, 0) + 1
        _write(study, content)
    return content.get(TEST)


def _write(study: Study, content: dict[str, Any]) -> None:
    atomic_write(study.directory / BEST_JSON, json.dumps(content, indent=2) + "\n")
