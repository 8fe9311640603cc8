"""What the user sees while a search runs: a live bar on a terminal, else lines about trials."""

import math
import time
from functools import partial
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from analysis.class_counts import beside
from analysis.markdown import format_duration
from analysis.terminal import PlainConsole
from inat.config.objective import ACCURACY
from inat.constants import FAILED, RUNNING, STATES
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.expected_epochs import seconds_left
from inat.tuning.rungs import Rungs

REFRESH_HZ = 2
BEST_LINE_SECONDS = 60.0  # between two lines in a file about a better result of a running trial


class SearchProgress:
    """Context manager that shows the bar; it must be called with each trial that changes.

    ``rungs``: those of the search, for the time left; ``deadline``: when its time budget ends, by ``time.monotonic``.
    """

    def __init__(
        self,
        study: Study,
        total: int,
        console: Console | None = None,
        *,
        rungs: Rungs | None = None,
        deadline: float | None = None,
    ) -> None:
        self._study = study
        self._total = total
        self._console = console or PlainConsole(soft_wrap=False)
        self._before = study.num_ended
        self._started = 0.0
        self._rungs, self._deadline = rungs, deadline
        self._epochs_done = 0
        # The last better result in a file, and when it was printed.
        self._shown: tuple[tuple[str, float | None], float] | None = None
        self._constant = beside(study.info, study.objective).strip(" ()")  # a line of its own: 80 columns are few
        self._bar = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("trials, {task.fields[rate]}, elapsed"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
        )
        self._task = self._bar.add_task("search", total=total, completed=self._before, rate="- a minute", left="")
        self._live = Live(console=self._console, get_renderable=self._draw, refresh_per_second=REFRESH_HZ)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, trial: Trial) -> None:
        self._epochs_done += trial.state == RUNNING
        if self._console.is_terminal:
            ended = self._study.num_ended
            rate = (ended - self._before) / (time.monotonic() - self._started) * 60
            self._bar.update(self._task, completed=ended, rate=f"{rate:.1f} a minute")
        if trial.state == FAILED or (trial.state != RUNNING and not self._console.is_terminal):
            self._console.print(
                f"[{self._study.num_ended}/{self._total}] {describe_trial(trial)}", soft_wrap=True, markup=False
            )
        elif trial.state == RUNNING and not self._console.is_terminal:
            self._print_better(trial)

    def _print_better(self, trial: Trial) -> None:
        """Print that a running trial is the best so far, at most once in BEST_LINE_SECONDS."""
        now = time.monotonic()
        last = self._started if self._shown is None else self._shown[1]
        if now - last < BEST_LINE_SECONDS or not _is_known(trial):
            return
        ended = self._study.best()  # most epochs are no better, so most need no look at all trials
        if ended is not None and _rank(self._study, trial) >= _rank(self._study, ended):
            return
        if best_so_far(self._study) is not trial:
            return
        if self._shown is None or (trial.trial_id, trial.best_value) != self._shown[0]:
            self._shown = ((trial.trial_id, trial.best_value), now)
            self.print_line(f"[{self._study.num_ended}/{self._total}] {describe_best(self._study)}")

    def seconds_left(self) -> float | None:
        """The estimated seconds until the search ends; None before the first epoch of this run."""
        now = time.monotonic()
        trials = list(self._study.trials.values())
        within = None if self._deadline is None else max(0.0, self._deadline - now)
        if self._rungs is None:
            return within
        left = seconds_left(trials, self._total, self._rungs, now - self._started, self._epochs_done)
        return left if within is None or left is None else min(left, within)

    def print_line(self, line: str) -> None:
        """Print a line above the bar, if there is one."""
        self._console.print(line, soft_wrap=True, markup=False)

    def _draw(self) -> Group:
        # Called by a thread of Rich: only here are all trials counted, twice a second and not with each epoch.
        left = self.seconds_left()
        self._bar.update(self._task, left="" if left is None else f"left {format_rough(left)}")
        return Group(self._bar, Text(describe_counts(self._study)), *([Text(self._constant)] if self._constant else []))


def describe_counts(study: Study) -> str:
    """Return the best value so far and the number of trials in each state."""
    states = [trial.state for trial in list(study.trials.values())]
    return ", ".join([describe_best(study), *(f"{states.count(state)} {state}" for state in STATES)])


def describe_best(study: Study) -> str:
    """The best value so far, with its trial and epoch while that trial runs; "-" before the first epoch."""
    best, objective = best_so_far(study), study.objective
    name = "best" if objective is ACCURACY else f"best {objective.short}"
    if best is None or best.best_value is None:
        return f"{name} -"
    where = f" ({best.trial_id}, epoch {best.epochs})" if best.state == RUNNING else ""
    return f"{name} {best.best_value:.4f}{where}"


def best_so_far(study: Study) -> Trial | None:
    """The best trial, running or ended; failed trials do not count. With folds, more ended trainings rank first."""
    running = [trial for trial in list(study.trials.values()) if trial.state == RUNNING and _is_known(trial)]
    ended = study.best()
    return min([ended, *running] if ended else running, key=partial(_rank, study), default=None)


def _is_known(trial: Trial) -> bool:
    return trial.best_value is not None and not math.isnan(trial.best_value)


def _rank(study: Study, trial: Trial) -> tuple[int, float]:
    assert trial.best_value is not None
    return study.rank(trial.folds_done, trial.best_value)


def format_rough(seconds: float) -> str:
    """Write a time that is an estimate, without digits that it does not have.

    >>> format_rough(7), format_rough(100), format_rough(3000), format_rough(9000)
    ('10 s', '1 min 40 s', '50 min', '2 h 30 min')
    """
    step = 10 if seconds < 600 else 60 if seconds < 7200 else 600
    return format_duration(max(step, round(seconds / step) * step)).removesuffix(" 0 s")


def describe_trial(trial: Trial) -> str:
    """Return one line about an ended trial."""
    value = "-" if trial.best_value is None else f"{trial.best_value:.4f}"
    error = f"  {trial.error}" if trial.error else ""
    return (
        f"{trial.trial_id} {trial.state:<9} {trial.objective.best_column} {value}  epochs {trial.epochs:>2}  "
        f"{trial.seconds:.1f} s  {trial.name}{error}"
    )
