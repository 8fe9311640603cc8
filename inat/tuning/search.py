"""A search from its configuration to the finished study."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Stopper
from ray.tune.stopper import CombinedStopper

from inat.config import DataConfig
from inat.constants import RAY_DIR
from inat.data.splits import inspect_data, load_splits
from inat.errors import StudyError
from inat.options import SearchConfig, seconds_of
from inat.results import Study
from inat.tuning import pretrained, retention, spaces, tracking
from inat.tuning.budget import Rungs
from inat.tuning.generator import StudyTrials
from inat.tuning.grid import grid_of
from inat.tuning.hangs import HangWatch
from inat.tuning.interrupt import StopOnSignal
from inat.tuning.limits import StopAtLimits
from inat.tuning.machines import FitMachines, Machines, machines_for
from inat.tuning.mirror import StudyMirror
from inat.tuning.progress import SearchProgress
from inat.tuning.provenance import check_unchanged, study_info
from inat.tuning.recorder import Listener, StopAtError, StudyRecorder, settle
from inat.tuning.scheduler import StudyASHA, asha_for
from inat.tuning.searcher import BudgetAwareOptunaSearch, SearcherOptions
from inat.tuning.session import nodes, ray_session, this_node
from inat.tuning.slots import Slots, idle, plan_slots
from inat.tuning.start import read_start
from inat.tuning.tensorboard import TensorboardTracker
from inat.tuning.tracking import WandbTracker
from inat.tuning.trainable import DRIVER_NODE, FINGERPRINT, RUNGS, STUDY_DIR, TIMEOUT, WEIGHTS_SHA256, run_trial

START_FROM = "start_from"  # in study.json: the configurations that were tried first
GRID = "grid"  # and those that are tried altogether, if they are a grid
Objective = Callable[[dict[str, Any]], None]
Announce = Callable[[str], None]
SideRecord = StudyMirror | WandbTracker | TensorboardTracker


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
    space = spaces.space_of(config)
    grid = grid_of(space) if config.searcher == "grid" else []
    data = inspect_data(config.data_config())
    weights = pretrained.check_backbones(config, space, data)
    for wanted in data_configs(config, space):
        load_splits(wanted)  # decodes the photographs now, before any trial waits for them
    tracking.check(config.wandb)
    if config.compile:
        from inat.arithmetic import check_compiler  # loads torch, which the search itself does without

        check_compiler()
    if config.resume is None:
        directory = config.storage_path.expanduser() / (config.name or default_name(config))
        info = study_info(config, spaces.describe(space), data)
        info |= {START_FROM: read_start(config.start_from, space), GRID: grid, pretrained.WEIGHTS: weights}
        return Study.create(directory, info), space
    study = Study.open(config.resume.expanduser())
    try:
        check_unchanged(study, data, spaces.describe(space))
        pretrained.check_unchanged(study.info.get(pretrained.WEIGHTS, {}), weights)
    except StudyError:
        study.close()
        raise
    study.update_config(replace(config, resume=None).to_json())
    return study, space


def data_configs(config: SearchConfig, space: Mapping[str, Any]) -> list[DataConfig]:
    """The photographs as trials of ``space`` read them: one entry an image size."""
    augmented = True in pretrained.choices(space, "use_augmentation")
    return [config.data_config(s, use_augmentation=augmented) for s in pretrained.image_sizes(config, space)]


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
    listeners: Sequence[Listener] = (),
    give_up: Callable[[], object] = lambda: None,
) -> Outcome:
    """Search until the study has as many ended trials as ``config`` wants, or the user interrupts.

    ``objective`` gets a flat dict of primitives and reports ``epoch`` and ``best_val_acc`` to Tune. The study on disk
    is up to date at every moment. ``listeners`` are called with each trial that changes, ``announce`` with lines for
    the user, ``give_up`` before the process is ended because Ray did not answer after an interruption.
    """
    scheduler = asha_for(
        study,
        max_epochs=config.max_epochs,
        grace_period=config.grace_period,
        reduction_factor=config.reduction_factor,
    )
    settle(study, scheduler)
    retention.prune(study, config.keep_checkpoints)
    searcher = BudgetAwareOptunaSearch(study, space, searcher_options(config, study))
    wanted = trials_wanted(config, study)
    limits = StopAtLimits(study, seconds_of(config.time_budget), config.target_accuracy)
    if len(study.ended()) >= wanted or limits.reason:
        with StudyMirror(study, searcher):
            pass  # a driver that was killed at the very end may have left it short
        return Outcome(study, interrupted=False, limit=limits.reason, seconds=0.0, slots=None)
    with ExitStack() as stack:
        announce(f"ray     {'starting' if config.address is None else f'joining {config.address}'}")
        signals = stack.enter_context(StopOnSignal(give_up))
        stack.enter_context(ray_session(config))
        signals.rearm()  # ray.init has installed handlers of its own
        machines = machines_for(study, config.data_config(), announce) if config.address else None
        fit = machines.wait() if machines else nodes()
        slots = plan_slots(fit, config)
        announce(f"trials  {slots}")
        if too_small := idle(fit, slots):
            announce(f"        {too_small}")
        writers = side_records(config, study, searcher)
        for writer in writers:
            stack.enter_context(writer)
        progress = stack.enter_context(SearchProgress(study, wanted))
        hearers: list[Listener] = [searcher.hear, limits.hear, progress, *writers, *listeners]
        recorder = StudyRecorder(study, scheduler, config.keep_checkpoints, hearers, config.max_failures)
        stop = CombinedStopper(signals, limits, StopAtError(recorder))
        started = time.monotonic()
        while len(study.ended()) < wanted and not stop.stop_all():
            # More than once only if a process died between two trials: what it was to run is handed out again.
            trials = StudyTrials(searcher.start_over(), slots.count)
            if machines:
                machines.say = progress.say
                machines.keep_informed(slots.fit_on, partial(trials.resize, most=config.max_concurrent))
            _tune(config, study, trials, scheduler, recorder, stop, slots, machines, objective)
        limits.settle(recorder.end)
        if recorder.error is not None:
            raise recorder.error
        seconds = time.monotonic() - started
    for writer in writers:
        if writer.error:
            announce(f"warning: {writer.label} is incomplete ({writer.error}); the study itself is not affected")
    interrupted = signals.requested and len(study.ended()) < wanted
    return Outcome(study, interrupted, limits.reason, seconds, slots)


def side_records(config: SearchConfig, study: Study, searcher: BudgetAwareOptunaSearch) -> list[SideRecord]:
    """study.db, and what else ``config`` asks for."""
    records: list[SideRecord] = [StudyMirror(study, searcher)]
    if config.wandb != "off":
        records.append(WandbTracker(study, config.wandb))
    if config.tensorboard:
        records.append(TensorboardTracker(study))
    return records


def rungs_of(config: SearchConfig) -> Rungs:
    """Where ASHA compares trials."""
    return Rungs(config.grace_period, config.reduction_factor, config.max_epochs)


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


def _tune(
    config: SearchConfig,
    study: Study,
    trials: StudyTrials,
    scheduler: StudyASHA,
    recorder: StudyRecorder,
    stop: Stopper,
    slots: Slots,
    machines: Machines | None,
    objective: Objective,
) -> None:
    own = {
        STUDY_DIR: str(study.directory.absolute()), TIMEOUT: seconds_of(config.trial_timeout),
        FINGERPRINT: study.info["data"]["fingerprint"], RUNGS: rungs_of(config).milestones,
        WEIGHTS_SHA256: study.info.get(pretrained.WEIGHTS, {}), DRIVER_NODE: this_node(),
    }  # fmt: skip
    hang_watch = HangWatch(study.directory, seconds_of(config.trial_timeout))
    # Not tune.Tuner: it pickles searcher, scheduler and callbacks to restore them; ours are rebuilt from the study.
    tune.run(
        objective,
        config=config.trial_settings() | own,
        search_alg=trials,
        scheduler=scheduler,
        num_samples=trials_wanted(config, study) - len(study.ended()),
        resources_per_trial=FitMachines(
            {"CPU": slots.cpus, "GPU": slots.gpus}, machines.excluded if machines else list
        ),
        max_failures=config.max_failures,
        reuse_actors=True,
        storage_path=str((study.directory / RAY_DIR).absolute()),
        name=f"{datetime.now():%Y%m%d-%H%M%S}",
        trial_dirname_creator=lambda trial: trial.trial_id,
        stop=stop,
        callbacks=[recorder, hang_watch, *([machines] if machines else [])],
        verbose=0,
        raise_on_failed_trial=False,
    )
