"""How far a search is: the trials that it wants, and those that have ended."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inat.config.search import SearchConfig
from inat.config.validation import expanded
from inat.constants import FAILED
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.study.trial import Trial
from inat.tuning.provenance import check_unchanged
from inat.tuning.raise_check import check_raise
from inat.tuning.raised_epochs import plan_raise
from inat.tuning.space import presets
from inat.tuning.space.grid import params_key
from inat.tuning.stoppers import describe_reached, reaches_target
from inat.tuning.task import Task


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of trials of a whole search, and those that have ended.

    ``reached`` says that one of them has reached the target, so that no more trials run.
    """

    wanted: int
    ended: Sequence[Trial] = ()
    reached: str = ""

    @property
    def left(self) -> int:
        """How many trials are left to run."""
        return 0 if self.reached else max(0, self.wanted - len(self.ended))

    def untried(self, grid: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The configurations of ``grid`` that are left to run, in order."""
        tried = {params_key(trial.params) for trial in self.ended}
        return [params for params in grid if params_key(params) not in tried][: self.left]


def progress_of(task: Task) -> Progress:
    """How far the search of ``task`` is: nowhere, or as far as the study that it resumes; a search may be writing it.

    Raises StudyError if that study is damaged, or if its images or its space have changed.
    """
    config = task.config
    wanted = wanted_trials(config, task.grid)
    if config.resume is None:
        return Progress(wanted)
    directory = expanded(config.resume)
    info = read_info(directory)
    check_raise(info, config, task.space)
    check_unchanged(directory, info, task.data, presets.space_to_json(task.space))
    journal = Journal.read(directory)
    again = {trial.trial_id for trial in journal.ended() if config.retry_failed and trial.state == FAILED}
    if config.max_epochs > (before := info["config"]["max_epochs"]):
        again |= {trial.trial_id for trial in plan_raise(journal, config, before).go_on}
    ended = [trial for trial in journal.ended() if trial.trial_id not in again]
    first = next((trial for trial in ended if reaches_target(trial, config.target, config.trainings)), None)
    return Progress(wanted, ended, describe_reached(first, config.target) if first else "")


def wanted_trials(config: SearchConfig, grid: Sequence[object]) -> int:
    """How many trials a study is to have: --num-samples, but at most the configurations of a ``grid``."""
    known = len(grid) or math.inf
    return int(min(known, math.inf if config.num_samples is None else config.num_samples))


def describe_trials(progress: Progress) -> str:
    """Write the number of trials that are left to run.

    >>> describe_trials(Progress(1200))
    '1,200 trials'
    """
    if not progress.ended:
        return f"{progress.wanted:,} trial{'' if progress.wanted == 1 else 's'}"
    verb = "is" if progress.left == 1 else "are"
    return f"{progress.left:,} of {progress.wanted:,} trials {verb} left,"


def describe_nothing_left(progress: Progress) -> str:
    """Say that no trial is left to plan, and why."""
    if progress.reached:
        return f"{progress.reached}, so nothing is left to run; --target None adds trials"
    ended = len(progress.ended)
    whole = "the only trial has" if ended == 1 else f"all {ended:,} trials have"
    return f"{whole} ended, so nothing is left to run; --num-samples with a larger number adds trials of a sampler"


def describe_unplanned(config: SearchConfig) -> list[str]:
    """Lines about options that an estimate does not count."""
    ends = [f"--time-budget {config.time_budget}: it stops after that time"] if config.time_budget else []
    if config.target is not None:
        ends.append(f"--target {config.target:g}: it stops once a trial has reached that {config.objective.short}")
    lines = [f"limits  the search may end earlier, with {' and '.join(ends)}"] if ends else []
    if config.compile:
        lines.append(
            "compile not in the estimate: --compile takes about half a minute more for each network, and then trains "
            "at another speed"
        )
    return lines
