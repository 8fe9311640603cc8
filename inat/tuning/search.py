"""A search from its configuration to the finished study."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from inat.config.search import SearchConfig, seconds_of
from inat.config.trial import DataConfig
from inat.constants import GRID
from inat.data.splits import inspect_data, load_splits
from inat.errors import StudyError
from inat.study import checkpoint_retention
from inat.study.study import Study
from inat.tuning.loggers import wandb_logger
from inat.tuning.loggers.optuna_db import OptunaDbWriter
from inat.tuning.loggers.study_recorder import TrialCallback
from inat.tuning.loggers.tensorboard_logger import TensorboardLogger
from inat.tuning.loggers.wandb_logger import WandbLogger
from inat.tuning.provenance import check_unchanged, study_info
from inat.tuning.ray_backend.slots import Slots
from inat.tuning.runner import Announce, Objective, RunSpec, SideRecord, restored_scheduler, run_trials, rungs_of
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch, SearcherOptions
from inat.tuning.space import backbone_checks, presets
from inat.tuning.space.grid import grid_of
from inat.tuning.space.initial_points import read_initial_points
from inat.tuning.stoppers import StopAtLimits
from inat.tuning.worker.trainable import run_trial

START_FROM = "start_from"  # in study.json: the configurations that were tried first


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    ``limit`` says which limit stopped it, if one did; ``seconds`` is its wall time without starting Ray, ``slots`` None
    if nothing had to run.
    """

    study: Study
    interrupted: bool
    limit: str
    seconds: float
    slots: Slots | None


def open_study(config: SearchConfig) -> tuple[Study, dict[str, Any]]:
    """Create the study that ``config`` describes, or open the one it resumes; with its search space.

    What can be wrong with data, space or directory is found here, before Ray starts, and leaves no study behind.
    """
    config = config.resolved()
    space = presets.space_of(config)
    grid = grid_of(space) if config.searcher == "grid" else []
    data = inspect_data(config.data_config())
    weights = backbone_checks.check_backbones(config, space, data)
    for wanted in data_configs(config, space):
        load_splits(wanted)  # decodes the photographs now, before any trial waits for them
    wandb_logger.check(config.wandb)
    if config.compile:
        from inat.training.precision import check_compiler  # loads torch, which the search itself does without

        check_compiler()
    if config.resume is None:
        directory = config.storage_path.expanduser() / (config.name or default_name(config))
        info = study_info(config, presets.space_to_json(space), data)
        info |= {
            START_FROM: read_initial_points(config.start_from, space),
            GRID: grid,
            backbone_checks.WEIGHTS: weights,
        }
        return Study.create(directory, info), space
    study = Study.open(config.resume.expanduser())
    try:
        check_unchanged(study, data, presets.space_to_json(space))
        backbone_checks.check_weights_unchanged(study.info.get(backbone_checks.WEIGHTS, {}), weights)
    except StudyError:
        study.close()
        raise
    study.update_config(replace(config, resume=None).to_json())
    return study, space


def data_configs(config: SearchConfig, space: Mapping[str, Any]) -> list[DataConfig]:
    """The photographs as trials of ``space`` read them: one entry an image size."""
    augmented = True in backbone_checks.choices(space, "use_augmentation")
    return [config.data_config(s, use_augmentation=augmented) for s in backbone_checks.image_sizes(config, space)]


def trials_wanted(config: SearchConfig, study: Study) -> int:
    """How many trials the study is to have: as many as asked for, but a grid has no more than its configurations."""
    known = len(study.info.get(GRID, ())) or math.inf
    return int(min(known, math.inf if config.num_samples is None else config.num_samples))


def default_name(config: SearchConfig) -> str:
    """A study name made of data and time, for example ``scratch-digits-20261123-211500``."""
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(config.data).expanduser().absolute().name)
    return f"{config.KIND}-{stem}-{datetime.now():%Y%m%d-%H%M%S}"


def run(
    config: SearchConfig,
    study: Study,
    space: Mapping[str, Any],
    objective: Objective = run_trial,
    *,
    announce: Announce = lambda line: None,
    listeners: Sequence[TrialCallback] = (),
    give_up: Callable[[], object] = lambda: None,
) -> Outcome:
    """Search until the study has as many ended trials as ``config`` wants, or the user interrupts.

    ``objective`` gets a flat dict of primitives and reports ``epoch`` and ``best_val_acc`` to Tune. The study on disk
    is up to date at every moment. ``listeners`` are called with each trial that changes, ``announce`` with lines for
    the user, ``give_up`` before the process is ended because Ray did not answer after an interruption.
    """
    scheduler = restored_scheduler(config, study)
    checkpoint_retention.prune_checkpoints(study, config.keep_checkpoints)
    searcher = BudgetAwareOptunaSearch(study, space, searcher_options(config, study))
    wanted = trials_wanted(config, study)
    limits = StopAtLimits(study, seconds_of(config.time_budget), config.target_accuracy)
    if len(study.ended()) >= wanted or limits.reason:
        with OptunaDbWriter(study, searcher):
            pass  # a driver that was killed at the very end may have left it short
        return Outcome(study, interrupted=False, limit=limits.reason, seconds=0.0, slots=None)
    records = side_records(config, study, searcher)
    work = RunSpec(config, study, searcher, scheduler, wanted, objective)
    ran = run_trials(
        work,
        limits,
        records=records,
        listeners=[searcher.on_trial_update, *listeners],
        announce=announce,
        give_up=give_up,
    )
    for record in records:
        if record.error:
            announce(f"warning: {record.label} is incomplete ({record.error}); the study itself is not affected")
    return Outcome(study, ran.interrupted, limits.reason, ran.seconds, ran.slots)


def side_records(config: SearchConfig, study: Study, searcher: BudgetAwareOptunaSearch) -> list[SideRecord]:
    """study.db, and what else ``config`` asks for."""
    records: list[SideRecord] = [OptunaDbWriter(study, searcher)]
    if config.wandb != "off":
        records.append(WandbLogger(study, config.wandb))
    if config.tensorboard:
        records.append(TensorboardLogger(study))
    return records


def searcher_options(config: SearchConfig, study: Study) -> SearcherOptions:
    """What the searcher of ``study`` needs to know."""
    return SearcherOptions(
        rungs=rungs_of(config),
        seed=config.seed,
        sampler=config.searcher,
        stopped=config.stopped_trials,
        keep_checkpoints=config.keep_checkpoints,
        start_from=study.info.get(START_FROM, ()),
        grid=study.info.get(GRID, ()),
    )
