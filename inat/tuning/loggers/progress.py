"""What the user sees while a search runs: a live bar on a terminal, else one line per ended trial."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from analysis.class_counts import beside
from analysis.terminal import PlainConsole
from inat.config.objective import ACCURACY
from inat.constants import FAILED, RUNNING, STATES
from inat.study.study import Study
from inat.study.trial import Trial

REFRESH_HZ = 2


class SearchProgress:
    """Context manager that shows the bar; it must be called with each trial that changes."""

    def __init__(self, study: Study, total: int, console: Console | None = None) -> None:
        self._study = study
        self._total = total
        self._console = console or PlainConsole(soft_wrap=False)
        self._before = study.num_ended
        self._started = 0.0
        self._constant = beside(study.info, study.objective).strip(" ()")  # a line of its own: 80 columns are few
        self._bar = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("trials, {task.fields[rate]}, elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("search", total=total, completed=self._before, rate="- a minute")
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
        if self._console.is_terminal:
            ended = self._study.num_ended
            rate = (ended - self._before) / (time.monotonic() - self._started) * 60
            self._bar.update(self._task, completed=ended, rate=f"{rate:.1f} a minute")
        if trial.state == FAILED or (trial.state != RUNNING and not self._console.is_terminal):
            self._console.print(
                f"[{self._study.num_ended}/{self._total}] {describe_trial(trial)}", soft_wrap=True, markup=False
            )

    def print_line(self, line: str) -> None:
        """Print a line above the bar, if there is one."""
        self._console.print(line, soft_wrap=True, markup=False)

    def _draw(self) -> Group:
        # Called by a thread of Rich: only here are all trials counted, twice a second and not with each epoch.
        return Group(self._bar, Text(describe_counts(self._study)), *([Text(self._constant)] if self._constant else []))


def describe_counts(study: Study) -> str:
    """Return the best value so far and the number of trials in each state."""
    states = [trial.state for trial in list(study.trials.values())]
    best, objective = study.best(), study.objective
    name = "best" if objective is ACCURACY else f"best {objective.short}"
    value = f"{name} {best.best_value:.4f}" if best else f"{name} -"
    return ", ".join([value, *(f"{states.count(state)} {state}" for state in STATES)])


def describe_trial(trial: Trial) -> str:
    """Return one line about an ended trial."""
    value = "-" if trial.best_value is None else f"{trial.best_value:.4f}"
    error = f"  {trial.error}" if trial.error else ""
    return (
        f"{trial.trial_id} {trial.state:<9} {trial.objective.best_column} {value}  epochs {trial.epochs:>2}  "
        f"{trial.seconds:.1f} s  {trial.name}{error}"
    )
