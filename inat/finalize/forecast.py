"""About how long the runs of inat.finalize take, from the times of the epochs that the study has recorded."""

import math
import statistics
from collections.abc import Iterable

from analysis.markdown import format_short_duration
from inat.caller import is_python
from inat.constants import SECONDS
from inat.device import gpu_count
from inat.errors import ConfigError
from inat.finalize.candidates import epochs_of_run, find_run, run_params
from inat.finalize.task import Task
from inat.machine import usable_cores, usable_memory
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.gpu_sharing import choose_sharing
from inat.tuning.ray_backend.slots import Node, plan_slots

TOP, SEEDS = 1, 2  # of the shorter command that the forecast names


def describe_forecast(task: Task, runs: Study) -> str:
    """About how long the runs that are left take, and how to make that shorter; "" if no time is known or none is left.

    A run that ``--patience`` ends early takes less. A cluster has no forecast: its machines are not known yet.
    """
    left = [(trial, trial_left) for trial in task.trials if (trial_left := _left(task, runs, trial))]
    known = [_epoch_seconds(task, runs, trial) for trial, _ in left]
    if not left or task.config.address or any(seconds is None for seconds in known):
        return ""
    lengths = [
        _epochs(task, trial) * (seconds or 0.0)
        for (trial, count), seconds in zip(left, known, strict=True)
        for _ in range(count)
    ]
    slots = _slots(task, len(lengths))
    total = time_of(lengths, slots)
    ship = max(lengths) if task.command.ship else 0.0
    extra = ", with that of --ship" if ship and not is_python() else ", with that of ship=True" if ship else ""
    trainings = "1 training" if len(lengths) == 1 else f"{len(lengths)} trainings"
    return (
        f"time    about {format_short_duration(total + ship)} for {trainings}{extra}, {slots} at a time, from the "
        f"recorded seconds per epoch{_shorter(task)}"
    )


def time_of(lengths: Iterable[float], slots: int) -> float:
    """The seconds until the last of several runs of ``lengths`` seconds has ended, of which ``slots`` run at a time.

    >>> time_of([60, 60, 60], 2)
    120.0
    """
    ends = [0.0] * slots
    for length in lengths:
        first = ends.index(min(ends))
        ends[first] += length
    return max(ends)


def _shorter(task: Task) -> str:
    if len(task.trials) <= TOP and task.command.seeds <= SEEDS:
        return ""
    return f"; {f'top={TOP}, seeds={SEEDS}' if is_python() else f'--top {TOP} --seeds {SEEDS}'} takes less"


def _left(task: Task, runs: Study, trial: Trial) -> int:
    """How many runs of a configuration have not ended."""
    found = (find_run(runs, run_params(trial, seed)) for seed in range(1, task.command.seeds + 1))
    return sum(run is None or run in runs.unfinished() for run in found)


def _epochs(task: Task, trial: Trial) -> int:
    changes = epochs_of_run(task.config.max_epochs, trial.epoch_cost)
    return int(changes.get("max_epochs", task.config.max_epochs))


def _epoch_seconds(task: Task, runs: Study, trial: Trial) -> float | None:
    """The median seconds of an epoch: of earlier runs, else of the trial in the search; None if none is recorded."""
    earlier = [find_run(runs, run_params(trial, seed)) for seed in range(1, task.command.seeds + 1)]
    for trials in ([run for run in earlier if run is not None], [trial]):
        seconds = [row.get(SECONDS) for one in trials for row in one.history]
        times = [value for value in seconds if isinstance(value, int | float) and 0 < value < math.inf]
        if times:
            return statistics.median(times)
    return None


def _slots(task: Task, count: int) -> int:
    here = [Node(usable_cores(), gpu_count(), memory=usable_memory())]
    try:
        planned = plan_slots(here, task.config, choose_sharing(task.config, here, count).share).count
    except ConfigError:  # the start of the runs reports it
        return 1
    return max(1, min(planned, count))
