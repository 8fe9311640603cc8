"""A search from its configuration to the finished study."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.wording import counted
from inat.config.durations import seconds_of
from inat.config.search import SearchConfig
from inat.config.validation import expanded
from inat.constants import (
    CLASS_COUNTS,
    COMPARED_AT,
    DATA_DIR,
    DIGITS,
    FAILED,
    GRID,
    OWN_OBJECTIVE,
    RACE,
    RECIPE_EPOCH,
    RECIPE_PARAMS,
    STOPPED,
    TIME_PLAN,
)
from inat.data.class_balance import class_counts
from inat.data.records import write_records
from inat.data.splits import assignment
from inat.errors import ConfigError, StudyError
from inat.study import checkpoint_retention
from inat.study.atomic_io import as_disk_full_error
from inat.study.study import Study, cannot_create
from inat.tuning.best_json import read_best
from inat.tuning.budget import rules
from inat.tuning.budget.clock import TIME_OVER, Clock, StopAtDeadline, check_not_over, last_has_begun
from inat.tuning.budget.plan import time_decides
from inat.tuning.earlier.lessons import LEARNED_FROM
from inat.tuning.lifecycle import TrialCallback
from inat.tuning.loggers.background import BackgroundLogger
from inat.tuning.loggers.optuna_db import OptunaDbWriter
from inat.tuning.loggers.tensorboard_logger import TensorboardLogger
from inat.tuning.loggers.wandb_logger import WandbLogger
from inat.tuning.own_model import check_model, keep_copy, model_info
from inat.tuning.own_objective import check_objective
from inat.tuning.progress import wanted_trials
from inat.tuning.provenance import check_unchanged, study_info
from inat.tuning.raise_check import check_raise
from inat.tuning.raised_epochs import begin_raise
from inat.tuning.ray_backend.slots import Slots
from inat.tuning.retry_failed import retry_failed_trials
from inat.tuning.rules import RULES, new_rules
from inat.tuning.runner import Objective, PrintLine, RunSpec, restored_scheduler, run_trials
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from inat.tuning.searcher_options import START_FROM, searcher_options
from inat.tuning.space import backbone_checks, presets
from inat.tuning.stoppers import StopAtLimits
from inat.tuning.task import check_task
from inat.tuning.worker.trainable import run_trial

if TYPE_CHECKING:
    from inat.tuning.budget.begin import Beginning  # loads torch, which other searches do without


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    ``limit`` names the limit that stopped it, "" if none did. ``seconds`` is its wall time without the start of Ray.
    ``slots`` is None if nothing had to run.
    """

    study: Study
    interrupted: bool
    limit: str
    seconds: float
    slots: Slots | None


def open_study(
    config: SearchConfig,
    race: Mapping[str, Any] | None = None,
    begun: "Beginning | None" = None,
    own_objective: str = "",
    print_line: PrintLine = lambda line: None,
) -> tuple[Study, dict[str, Any]]:
    """Create the study that ``config`` describes, or open the one it resumes; return the study and its search space.

    ``race`` is the record of the race that chose the backbones of ``config``, for study.json; ``begun`` has the time
    plan that chose its other options. ``own_objective`` is the name of the function that takes the place of the
    training. With ``config.retry_failed`` the failed trials of a resumed study are unfinished again; so are, with more
    epochs than before, trials that ended at the former maximum, of which ``print_line`` gets a line.

    Raises ConfigError, DataError or StudyError for all that can be wrong with data, space, weights or directory, before
    Ray starts and without leaving a study behind.
    """
    task = check_task(config).with_width(0 if begun is None else begun.time_plan.get("width", 0))
    config, space, data = task.config, dict(task.space), task.data
    weights = backbone_checks.check_backbones(config, space, data)
    splits = task.load()  # decodes images before a trial waits for them
    if config.resume is None:
        storage = expanded(config.storage_path)
        directory = storage / config.name if config.name else claim_directory(storage, default_name(config))
        info = study_info(config, presets.space_to_json(space), data)
        info |= {
            START_FROM: task.start_from,
            GRID: task.grid,
            CLASS_COUNTS: class_counts(splits),
            backbone_checks.WEIGHTS: weights,
            **model_info(config, task.own_stages),
            RULES: new_rules(),
        }
        info |= {} if task.lessons is None else {LEARNED_FROM: dict(task.lessons.record)}
        info |= {} if race is None else {RACE: dict(race)}
        info |= {} if begun is None else {TIME_PLAN: dict(begun.time_plan)}
        info |= {COMPARED_AT: RECIPE_EPOCH} if time_decides(info) else {}
        info |= {RECIPE_PARAMS: dict(task.recipe)} if task.recipe else {}
        info |= {OWN_OBJECTIVE: own_objective} if own_objective else {}
        study = Study.create(directory, info)
        keep_records(study, config)
        keep_copy(study, config)
        return study, space
    study = Study.open(expanded(config.resume))
    try:
        check_not_over(study, config)
        check_raise(study.info, config, space)
        check_objective(study.directory, study.info, own_objective)
        read_best(study.directory)  # if it is damaged, the user is told before anything runs
        check_model(study.directory, study.info, config)
        check_unchanged(study.directory, study.info, data, presets.space_to_json(space))
        backbone_checks.check_weights_unchanged(study.info.get(backbone_checks.WEIGHTS, {}), weights)
    except (ConfigError, StudyError):
        study.close()
        raise
    keep_copy(study, config)
    begin_raise(study, config, print_line)
    if config.retry_failed:
        retry_failed_trials(study)
    return study, space


def keep_records(study: Study, config: SearchConfig) -> None:
    """Write what the study keeps about its images into its folder ``data/``."""
    if config.data != DIGITS:
        with as_disk_full_error(study.directory):
            write_records(study.directory / DATA_DIR, assignment(config.data_config(use_augmentation=False)))


def trials_wanted(config: SearchConfig, study: Study) -> int:
    """Return how many trials the study is to have: --num-samples, but at most the configurations of a grid.

    Where the time decides, return the most trials that it may have.
    """
    wanted = wanted_trials(config, study.info.get(GRID, ()))
    return max(wanted, rules.MOST_TRIALS) if time_decides(study.info) else wanted


def default_name(config: SearchConfig) -> str:
    """Return a study name of the form KIND-DATA-DATE-TIME, for example ``scratch-digits-20261123-211500``."""
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in expanded(config.data).absolute().name)
    return f"{config.KIND}-{stem}-{datetime.now():%Y%m%d-%H%M%S}"


def claim_directory(storage: Path, name: str) -> Path:
    """Create a directory for a new study: ``name``, or ``name-2`` and so on if other searches began in this second."""
    for number in itertools.count(1):
        directory = storage / (name if number == 1 else f"{name}-{number}")
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_create(directory, error) from error
        return directory
    raise AssertionError


def run(
    config: SearchConfig,
    study: Study,
    space: Mapping[str, Any],
    objective: Objective = run_trial,
    *,
    print_line: PrintLine = lambda line: None,
    callbacks: Sequence[TrialCallback] = (),
    on_forced_exit: Callable[[str], object] = lambda cause: None,
    spent: float = 0.0,
    clock: Clock | None = None,
) -> Outcome:
    """Search until the study has as many ended trials as ``config`` wants, or the user interrupts.

    ``objective`` gets a flat dict of primitives and reports ``epoch`` and the best value of the study's
    objective, such as ``best_val_acc``, to Tune. The study on disk
    is complete at each moment. ``callbacks``, ``print_line`` and ``on_forced_exit``: see ``run_trials``.
    ``spent`` are the seconds of the time budget that a race before the search has used. With a ``clock``, the search
    ends when its part of the time is over, and starts no trial that would not end before.
    """
    scheduler = restored_scheduler(config, study)
    checkpoint_retention.prune_checkpoints(study, config.keep_checkpoints)
    searcher = BudgetAwareOptunaSearch(study, space, searcher_options(config, study, clock))
    wanted = trials_wanted(config, study)
    if clock is None:
        limits = StopAtLimits(study, seconds_of(config.time_budget), config.target, config.trainings, spent)
    else:
        limits = StopAtDeadline(study, clock.search_ends, config.target, lambda: searcher.declined, late=True)
    over = last_has_begun(study)
    if clock is not None and (over or limits.stop_all()):  # a resumed study whose time is over
        end_at_deadline(study, searcher, config.keep_checkpoints)
    if over or len(study.ended()) >= wanted or limits.reason:
        with OptunaDbWriter(study, searcher):
            pass  # a driver that was killed at the very end may not have written the last trials
        return Outcome(study, interrupted=False, limit=limits.reason, seconds=0.0, slots=None)
    loggers = background_loggers(config, study, searcher)
    spec = RunSpec(config, study, searcher, scheduler, wanted, objective, space.keys(), time_decides(study.info))
    if clock is not None and not clock.plan.searches:
        expected = rules.SAFETY * clock.plan.alone_seconds
        spec = replace(spec, ends=clock.training_ends, expected_seconds=expected)
    result = run_trials(
        spec,
        limits,
        loggers=loggers,
        callbacks=[searcher.on_trial_update, *callbacks],
        print_line=print_line,
        on_forced_exit=on_forced_exit,
        can_end_trials=True,
    )
    if clock is not None and limits.reason and not result.interrupted:
        end_at_deadline(study, searcher, config.keep_checkpoints)
    for logger in loggers:
        if logger.error:
            print_line(f"warning: {logger.label} is incomplete ({logger.error}); the study itself is not affected")
    return Outcome(study, result.interrupted, limits.reason, result.seconds, result.slots)


def end_at_deadline(study: Study, searcher: BudgetAwareOptunaSearch, keep_checkpoints: int) -> None:
    """End the trials that ran when the time of a planned search was over: nothing continues them."""
    cut = study.unfinished()
    for trial in cut:
        after = (STOPPED, f"after {counted(trial.epochs, 'epoch')}")
        state, when = after if trial.history else (FAILED, "before its first epoch")
        study.end_trial(trial.trial_id, state, f"stopped {when}: {TIME_OVER}")
        searcher.on_trial_update(trial)
    if cut:
        checkpoint_retention.prune_checkpoints(study, keep_checkpoints)
        with OptunaDbWriter(study, searcher):
            pass


def background_loggers(config: SearchConfig, study: Study, searcher: BudgetAwareOptunaSearch) -> list[BackgroundLogger]:
    """Return the writer of study.db, and the loggers that ``config`` asks for."""
    loggers: list[BackgroundLogger] = [OptunaDbWriter(study, searcher)]
    if config.wandb != "off":
        loggers.append(WandbLogger(study, config.wandb))
    if config.tensorboard:
        loggers.append(TensorboardLogger(study))
    return loggers
