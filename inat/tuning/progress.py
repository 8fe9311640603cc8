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
from inat.tuning.space import presets
from inat.tuning.space.grid import params_key
from inat.tuning.task import Task


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of trials of a whole search, and those that have ended."""

    wanted: int
    ended: Sequence[Trial] = ()

    @property
    def left(self) -> int:
        """How many trials are left to run."""
        return max(0, self.wanted - len(self.ended))

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
    check_unchanged(directory, read_info(directory), task.data, presets.space_to_json(task.space))
    ended = Journal.read(directory).ended()
    return Progress(wanted, [trial for trial in ended if not (config.retry_failed and trial.state == FAILED)])


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
    """Say that no trial is left to plan."""
    ended = len(progress.ended)
    whole = "the only trial has" if ended == 1 else f"all {ended:,} trials have"
    return f"{whole} ended, so nothing is left to run; --num-samples with a larger number adds trials of a sampler"
