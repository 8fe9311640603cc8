"""Trials on Ray, of a search or of anything else that trains many configurations, until the study has them all."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from ray import tune
from ray.tune import Stopper
from ray.tune.stopper import CombinedStopper

from inat.config.search import SearchConfig, seconds_of
from inat.constants import RAY_DIR
from inat.study.study import Study
from inat.tuning.loggers.optuna_db import OptunaDbWriter
from inat.tuning.loggers.progress import SearchProgress
from inat.tuning.loggers.study_recorder import StopAtError, StudyRecorder, TrialCallback, finish_interrupted
from inat.tuning.loggers.tensorboard_logger import TensorboardLogger
from inat.tuning.loggers.wandb_logger import WandbLogger
from inat.tuning.ray_backend.asha import StudyASHA, asha_for
from inat.tuning.ray_backend.hang_monitor import HangMonitor
from inat.tuning.ray_backend.nodes import ClusterNodes, cluster_nodes_for
from inat.tuning.ray_backend.placement import ResourceRefresh, UsableNodes
from inat.tuning.ray_backend.session import nodes, ray_session, refresh_resources, this_node
from inat.tuning.ray_backend.slots import Slots, idle, plan_slots
from inat.tuning.ray_backend.trials import StudyTrials, TrialSource
from inat.tuning.sampling.feedback import Rungs
from inat.tuning.space import backbone_checks
from inat.tuning.stoppers import StopAtLimits, StopOnSignal
from inat.tuning.worker.trainable import DRIVER_NODE, FINGERPRINT, RUNGS, STUDY_DIR, TIMEOUT, WEIGHTS_SHA256

Objective = Callable[[dict[str, Any]], None]
Announce = Callable[[str], None]
SideRecord = OptunaDbWriter | WandbLogger | TensorboardLogger


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Trials that ``source`` hands out until ``study`` has ``wanted`` ended ones, each a call of ``objective``."""

    config: SearchConfig
    study: Study
    source: TrialSource
    scheduler: StudyASHA
    wanted: int
    objective: Objective

    @property
    def missing(self) -> int:
        """How many trials have yet to end."""
        return self.wanted - len(self.study.ended())


@dataclass(frozen=True, slots=True)
class RunResult:
    """How it went: ``interrupted`` by the user before the end, ``seconds`` without starting Ray."""

    interrupted: bool
    seconds: float
    slots: Slots


def run_trials(
    work: RunSpec,
    limits: StopAtLimits,
    *,
    records: Sequence[SideRecord] = (),
    listeners: Sequence[TrialCallback] = (),
    announce: Announce = lambda line: None,
    give_up: Callable[[], object] = lambda: None,
) -> RunResult:
    """Run the trials; the study on disk is up to date at every moment.

    ``listeners`` are called with each trial that changes, before ``records``; ``announce`` with lines for the user,
    ``give_up`` before the process is ended because Ray did not answer after an interruption. What the study could not
    write is raised once all has stopped.
    """
    config, study = work.config, work.study
    with ExitStack() as stack:
        announce(f"ray     {'starting' if config.address is None else f'joining {config.address}'}")
        signals = stack.enter_context(StopOnSignal(give_up))
        stack.enter_context(ray_session(config))
        signals.rearm()  # ray.init has installed handlers of its own
        machines = cluster_nodes_for(study, config.data_config(), announce) if config.address else None
        fit = machines.wait() if machines else nodes()
        slots = plan_slots(fit, config)
        announce(f"trials  {slots}")
        if too_small := idle(fit, slots):
            announce(f"        {too_small}")
        for record in records:
            stack.enter_context(record)
        progress = stack.enter_context(SearchProgress(study, work.wanted))
        hearers: list[TrialCallback] = [*listeners, limits.hear, progress, *records]
        recorder = StudyRecorder(study, work.scheduler, config.keep_checkpoints, hearers, config.max_failures)
        stop = CombinedStopper(signals, limits, StopAtError(recorder))
        started = time.monotonic()
        while work.missing > 0 and not stop.stop_all():
            # More than once only if a process died between the last trials: what it was to run is handed out again.
            trials = StudyTrials(work.source.requeue_unfinished(), slots.count)
            recorder.requeue = trials.requeue
            if machines:
                machines.say = progress.say
                machines.keep_informed(slots.fit_on, partial(trials.resize, most=config.max_concurrent))
            _tune(work, trials, recorder, stop, slots, machines)
        limits.finish_interrupted(recorder.end)
        if recorder.error is not None:
            raise recorder.error
        seconds = time.monotonic() - started
    return RunResult(signals.requested and work.missing > 0, seconds, slots)


def restored_scheduler(config: SearchConfig, study: Study) -> StudyASHA:
    """ASHA with the rungs of ``study``, whose trials that a crash left behind have been settled."""
    scheduler = asha_for(
        study,
        max_epochs=config.max_epochs,
        grace_period=config.grace_period,
        reduction_factor=config.reduction_factor,
    )
    finish_interrupted(study, scheduler)
    return scheduler


def rungs_of(config: SearchConfig) -> Rungs:
    """Where ASHA compares trials."""
    return Rungs(config.grace_period, config.reduction_factor, config.max_epochs)


def _tune(
    work: RunSpec,
    trials: StudyTrials,
    recorder: StudyRecorder,
    stop: Stopper,
    slots: Slots,
    machines: ClusterNodes | None,
) -> None:
    config, study = work.config, work.study
    own = {
        STUDY_DIR: str(study.directory.absolute()), TIMEOUT: seconds_of(config.trial_timeout),
        FINGERPRINT: study.info["data"]["fingerprint"], RUNGS: rungs_of(config).milestones,
        WEIGHTS_SHA256: study.info.get(backbone_checks.WEIGHTS, {}), DRIVER_NODE: this_node(),
    }  # fmt: skip
    hang_watch = HangMonitor(study.directory, seconds_of(config.trial_timeout))
    refresh = ResourceRefresh(machines.with_room, refresh_resources) if machines else None
    # Not tune.Tuner: it pickles searcher, scheduler and callbacks to restore them; ours are rebuilt from the study.
    tune.run(
        work.objective,
        config=config.trial_settings() | own,
        search_alg=trials,
        scheduler=work.scheduler,
        num_samples=work.missing,
        resources_per_trial=UsableNodes(
            {"CPU": slots.cpus, "GPU": slots.gpus},
            machines.excluded if machines else None,
            refresh.requested if refresh else None,
        ),
        max_failures=config.max_failures,
        reuse_actors=True,
        storage_path=str((study.directory / RAY_DIR).absolute()),
        name=f"{datetime.now():%Y%m%d-%H%M%S}",
        trial_dirname_creator=lambda trial: trial.trial_id,
        stop=stop,
        callbacks=[recorder, hang_watch, *filter(None, (machines, refresh))],
        verbose=0,
        raise_on_failed_trial=False,
    )
