"""Runs trials on Ray, for a search or for any other list of configurations, until the study has all of them."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ray.tune import CLIReporter, FailureConfig, RunConfig, Stopper, TuneConfig, Tuner
from ray.tune.stopper import CombinedStopper

from inat.config.durations import seconds_of
from inat.config.search import SearchConfig
from inat.constants import RAY_DIR
from inat.study.atomic_io import as_disk_full_error
from inat.study.study import Study
from inat.tuning.gpu_sharing import choose_sharing
from inat.tuning.lifecycle import TrialCallback, TrialLifecycle, finish_interrupted
from inat.tuning.loggers.background import BackgroundLogger
from inat.tuning.loggers.progress import SearchProgress
from inat.tuning.loggers.study_recorder import StudyRecorder
from inat.tuning.own_model import model_settings
from inat.tuning.ray_backend import session
from inat.tuning.ray_backend.asha import StudyASHA, asha_for
from inat.tuning.ray_backend.hang_monitor import HangMonitor
from inat.tuning.ray_backend.nodes import ClusterNodes, cluster_nodes_for
from inat.tuning.ray_backend.placement import ResourceRefresh, UsableNodes
from inat.tuning.ray_backend.retries import RetryPolicy
from inat.tuning.ray_backend.server_watch import ServerWatch, servers_of_session
from inat.tuning.ray_backend.slots import Slots, describe_little_memory, describe_too_small, plan_slots
from inat.tuning.ray_backend.trials import StudyTrials, TrialSource
from inat.tuning.rules import rule_settings
from inat.tuning.rungs import Rungs
from inat.tuning.space import backbone_checks
from inat.tuning.stoppers import StopAtLimits, StopAtWriteError, StopOnSignal
from inat.tuning.worker.trainable import (
    DRIVER_NODE,
    ENDS,
    EXPECTED_SECONDS,
    FINGERPRINT,
    REPEATS,
    RUNGS,
    STUDY_DIR,
    TIMEOUT,
    WEIGHTS_SHA256,
)

Objective = Callable[[dict[str, Any]], None]
PrintLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Trials that ``source`` suggests until ``study`` has ``wanted`` ended ones, each a call of ``objective``.

    ``names`` are the hyperparameters that they may have. ``open_ended``: the time decides how many trials there are,
    and ``wanted`` is the most. With ``ends``, by ``time.monotonic``, each training ends by then, whose epochs are
    expected to take ``expected_seconds``; see ``Pace``.
    """

    config: SearchConfig
    study: Study
    source: TrialSource
    scheduler: StudyASHA
    wanted: int
    objective: Objective
    names: Collection[str]
    open_ended: bool = False
    ends: float | None = None
    expected_seconds: float = 0.0

    @property
    def missing(self) -> int:
        """How many trials have yet to end."""
        return self.wanted - self.study.num_ended


@dataclass(frozen=True, slots=True)
class RunResult:
    """Whether the user ``interrupted`` the run before its end, and its ``seconds`` without the start of Ray."""

    interrupted: bool
    seconds: float
    slots: Slots


@dataclass(frozen=True, slots=True)
class Backend:
    """What the trials of one run share: the slots, the nodes of a cluster (None: this machine), and the retries."""

    slots: Slots
    nodes: ClusterNodes | None
    retries: RetryPolicy
    watch: ServerWatch

    def capacity(self, max_concurrent: int | None) -> int:
        """How many trials fit at this moment, at most ``max_concurrent``."""
        if self.nodes is None:
            return self.slots.count
        fitting = self.nodes.capacity(self.slots)
        return min(fitting, max_concurrent or fitting)


def run_trials(
    spec: RunSpec,
    limits: StopAtLimits,
    *,
    loggers: Sequence[BackgroundLogger] = (),
    callbacks: Sequence[TrialCallback] = (),
    print_line: PrintLine = lambda line: None,
    on_forced_exit: Callable[[str], object] = lambda cause: None,
    can_end_trials: bool = False,
) -> RunResult:
    """Run the trials; the study on disk is complete at each moment.

    Each trial that changes is passed to ``callbacks`` and then to ``loggers``. ``print_line`` receives lines for the
    user. ``on_forced_exit`` is called with the cause before the process is ended because Ray has died, or does not
    answer after an interruption. With ``can_end_trials``, the user may end single trials. Raises the error of a study
    that could not be written once all trials have stopped.
    """
    config, study = spec.config, spec.study
    signals = StopOnSignal(on_forced_exit)
    progress = SearchProgress(
        study,
        None if spec.open_ended else spec.wanted,
        rungs=rungs_of(config),
        deadline=limits.deadline,
        budget=limits.budget,
        stop=signals.request,
        end_trial=spec.scheduler.end_trial if can_end_trials else None,
    )
    lifecycle = TrialLifecycle(
        study, spec.scheduler, config.keep_checkpoints, [*callbacks, limits.on_trial_update, progress, *loggers]
    )
    with ExitStack() as stack:
        print_line(f"ray     {'starting' if config.address is None else f'joining {config.address}'}")
        stack.enter_context(signals)
        stack.enter_context(session.ray_session(config))
        signals.rearm()  # ray.init has installed its own handlers
        watch = stack.enter_context(ServerWatch(servers_of_session(), signals.exit_without))
        backend = _start_backend(spec, progress, print_line, watch)
        for logger in loggers:
            stack.enter_context(logger)
        stack.enter_context(progress)
        stop = CombinedStopper(signals, limits, StopAtWriteError(lifecycle))
        started = time.monotonic()
        while spec.missing > 0 and not stop.stop_all():
            # A second round only if a process died between the last trials: its trial is suggested again.
            _run_tuner(spec, backend, lifecycle, stop)
        lifecycle.end_at_target(limits.reached_target)
        if lifecycle.error is not None:
            raise lifecycle.error
        seconds = time.monotonic() - started
    return RunResult(signals.requested and spec.missing > 0, seconds, backend.slots)


def _start_backend(spec: RunSpec, progress: SearchProgress, print_line: PrintLine, watch: ServerWatch) -> Backend:
    config = spec.config
    nodes = None
    if config.address:
        on_gpus = config.gpus_per_trial != 0
        nodes = cluster_nodes_for(spec.study, config.data_config(), progress.print_line, on_gpus=on_gpus)
    usable = nodes.wait_until_checked() if nodes else session.private_nodes()
    sharing = choose_sharing(config, usable, spec.missing)
    slots = plan_slots(usable, config, sharing.share)
    print_line(f"trials  {slots}")
    remarks = (sharing.line, describe_too_small(usable, slots), describe_little_memory(usable, slots))
    for remark in filter(None, remarks):
        print_line(f"        {remark}")
    return Backend(slots, nodes, RetryPolicy(config.max_failures), watch)


def restored_scheduler(config: SearchConfig, study: Study) -> StudyASHA:
    """Return ASHA with the rungs of ``study``, after ending the trials whose end a killed driver could not write."""
    scheduler = asha_for(
        study,
        max_epochs=config.max_epochs,
        grace_period=config.grace_period,
        reduction_factor=config.reduction_factor,
        trainings=config.trainings,
    )
    finish_interrupted(study, scheduler)
    return scheduler


def rungs_of(config: SearchConfig) -> Rungs:
    """Return the epochs at which ASHA compares trials."""
    return Rungs(config.grace_period, config.reduction_factor, config.max_epochs, config.trainings)


def _run_tuner(spec: RunSpec, backend: Backend, lifecycle: TrialLifecycle, stop: Stopper) -> None:
    config, study, nodes, slots = spec.config, spec.study, backend.nodes, backend.slots
    refresh = ResourceRefresh(lambda: nodes.ids_with_room(slots), session.refresh_resources) if nodes else None
    resources = UsableNodes(
        {"CPU": slots.cpus, "GPU": slots.gpus},
        nodes.excluded_ids if nodes else None,
        refresh.on_request if refresh else None,
    )
    trials = StudyTrials(
        spec.source.requeue_unfinished(),
        spec.missing,
        lambda: backend.capacity(config.max_concurrent),
        resources,
        backend.retries,
        spec.names,
    )
    recorder = StudyRecorder(lifecycle, backend.retries, trials.requeue, backend.watch.wait_for_death)
    hang_monitor = HangMonitor(study.directory, seconds_of(config.trial_timeout))
    tuner = Tuner(
        spec.objective,
        param_space=_settings(spec),
        tune_config=TuneConfig(
            search_alg=trials, scheduler=spec.scheduler, num_samples=spec.missing, reuse_actors=True
        ),
        run_config=RunConfig(
            name=f"{datetime.now():%Y%m%d-%H%M%S}",
            storage_path=str(_ray_directory(study)),
            failure_config=FailureConfig(max_failures=config.max_failures),
            stop=stop,
            callbacks=[recorder, hang_monitor, *filter(None, (nodes, refresh))],
            verbose=0,
            progress_reporter=CLIReporter(),  # silent; the one for notebooks clears the output of the cell
        ),
    )
    _fit(tuner, lifecycle)


def _fit(tuner: Tuner, lifecycle: TrialLifecycle) -> None:
    """Run the trials; an error of Tune itself is raised unless it follows from one that ``lifecycle`` has kept.

    Tune's own files are on the disk of the study: if the disk is full, Tune fails too, in any of many ways.
    """
    try:
        with as_disk_full_error(lifecycle.study.directory):
            tuner.fit()
    except Exception:
        if lifecycle.error is None:
            raise


def _settings(spec: RunSpec) -> dict[str, Any]:
    """The settings that all trials of a study share."""
    config, study = spec.config, spec.study
    paced = {} if spec.ends is None else {ENDS: spec.ends, EXPECTED_SECONDS: spec.expected_seconds}
    shared = config.trial_settings() | rule_settings(config, study.info)
    return shared | {
        STUDY_DIR: str(study.directory.absolute()),
        TIMEOUT: seconds_of(config.trial_timeout),
        FINGERPRINT: study.info["data"]["fingerprint"],
        RUNGS: rungs_of(config).milestones,
        REPEATS: config.repeats,
        WEIGHTS_SHA256: study.info.get(backbone_checks.WEIGHTS, {}),
        DRIVER_NODE: session.this_node_id(),
        **model_settings(study, config),
        **paced,
    }


def _ray_directory(study: Study) -> Path:
    return (study.directory / RAY_DIR).absolute()
