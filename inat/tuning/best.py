"""best.json and best.ckpt: the best trial of a study and its only evaluation on the test split."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from inat.config.objective import OBJECTIVES
from inat.config.trial import DataConfig
from inat.constants import (
    BEST_CKPT,
    BEST_JSON,
    CHEAPER_THAN,
    CHECKPOINTS_DIR,
    EPOCHS,
    LAST_DIR,
    LAST_OF,
    LAST_TRAINING,
    NAME,
    PARETO_FRONT,
    REFIT,
    STANDARD_ERROR,
    STUDY_JSON,
    TEST,
    TRIAL_ID,
    VALIDATION_NOISE,
)
from inat.errors import DiskFullError, StudyError
from inat.study.atomic_io import atomic_replace, atomic_write, parse_json_object
from inat.study.cheaper import CostRule
from inat.study.checkpoint_file import is_intact, sha256_of
from inat.study.events import is_number
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.chosen_model import Model
from inat.tuning.refit import refit_problem

FOLD_VALUES = "fold_values"  # key in best.json: of which the best value is the mean
SHA256 = "sha256"  # key in best.json: of best.ckpt


def _are_scores(value: Any) -> bool:
    return isinstance(value, dict) and is_number(value.get(f"{TEST}_acc")) and is_number(value.get("images", 0))


# What the values of best.json must be; somebody else may have written it.
MODELS_TESTED: Final = "models_tested"  # of best.json: how many models of the study have been tested so far
_FITS: Mapping[str, Callable[[Any], bool]] = {
    TRIAL_ID: lambda value: isinstance(value, str),
    **{objective.best_column: is_number for objective in OBJECTIVES.values()},
    "params": lambda value: isinstance(value, dict),
    SHA256: lambda value: isinstance(value, str),
    VALIDATION_NOISE: lambda value: isinstance(value, dict),
    PARETO_FRONT: lambda value: isinstance(value, list),
    CHEAPER_THAN: lambda value: isinstance(value, dict),
    REFIT: lambda value: isinstance(value, dict) and type(value.get(EPOCHS)) is int,
    TEST: _are_scores,
    MODELS_TESTED: lambda value: type(value) is int and value >= 0,
}
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
    if refit_problem(journal, _cost_rule(journal, directory), last):
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


def _cost_rule(journal: Journal, directory: Path) -> CostRule:
    return CostRule.of(journal.info if isinstance(journal, Study) else read_info(directory))


def chosen_for_cost(journal: Journal, directory: Path, best: Trial) -> Trial:
    """The trial that --prefer-cheaper puts in the place of ``best``; ``best`` itself without this option.

    If ``best`` has weights, so has the trial that takes its place.
    """
    rule = _cost_rule(journal, directory)
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


def last_training(directory: Path) -> Model | None:
    """The last training of a study with a time plan; None before it has a result and intact weights."""
    folder = directory / LAST_DIR
    if not (folder / STUDY_JSON).exists():
        return None
    info = read_info(folder)
    trial, repeated = Journal.read(folder).best(), info.get(LAST_OF)
    if trial is None or not isinstance(repeated, str):
        return None
    weights = folder / CHECKPOINTS_DIR / trial.trial_id / BEST_CKPT
    if not is_intact(weights):
        return None
    return Model(repeated, trial.name, trial, weights, last=True, refit=trial if info.get(REFIT) is True else None)


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
        content[REFIT] = {EPOCHS: model.refit.epochs, "params": model.refit.params}
    if model.last:
        content[LAST_TRAINING] = True
    elif trained.folded:
        content |= {STANDARD_ERROR: trained.standard_error, FOLD_VALUES: trained.fold_values}
    written = read_best(study.directory)
    weights, target = model.weights, study.directory / BEST_CKPT
    beside = _beside(study, model)
    if {name: written.get(name) for name in content} == content and is_as_written(target, written):
        if {name: written[name] for name in _BESIDE if name in written} != beside:  # more trials, or another version
            _write(study, {name: value for name, value in written.items() if name not in _BESIDE} | beside)
        return model
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
    if {name: written.get(name) for name in content} == content and TEST in written:
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


def is_as_written(target: Path, written: dict[str, Any]) -> bool:
    """Whether best.ckpt is the file that best.json was written with; earlier versions wrote no checksum."""
    if SHA256 in written:
        return target.exists() and sha256_of(target) == written[SHA256]
    return is_intact(target)


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


def read_best(directory: Path) -> dict[str, Any]:
    """Read best.json of a study directory, {} if there is none; raise StudyError if it is damaged."""
    path = directory / BEST_JSON
    if not path.exists():
        return {}
    content = parse_json_object(path.read_bytes())
    if content is None or not all(fits(content[name]) for name, fits in _FITS.items() if name in content):
        raise StudyError(f"{path} is damaged; remove it, and the search writes it again")
    return content


def _write(study: Study, content: dict[str, Any]) -> None:
    atomic_write(study.directory / BEST_JSON, json.dumps(content, indent=2) + "\n")
