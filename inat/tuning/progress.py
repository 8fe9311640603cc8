"""What the user sees while a search runs: a live bar on a terminal, else one line a finished trial."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from inat.constants import COMPLETED, FAILED, RUNNING, STATES, STOPPED
from inat.results import Study
from inat.trials import Trial


class SearchProgress:
    """A context manager; call it whenever a trial changes."""

    def __init__(self, study: Study, total: int, console: Console | None = None) -> None:
        self._study = study
        self._total = total
        self._console = console or Console(highlight=False)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("search", total=total, completed=len(study.ended()), counts=self._counts())
        self._before = len(study.ended())

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, trial: Trial) -> None:
        ended = len(self._study.ended())
        if self._console.is_terminal:
            self._bar.update(self._task, completed=ended, counts=self._counts())
        elif trial.state != RUNNING:
            self._console.print(f"[{ended}/{self._total}] {describe_trial(trial)}", soft_wrap=True, markup=False)

    def _counts(self) -> str:
        return describe_counts(self._study)


def describe_counts(study: Study) -> str:
    """Best so far and how many trials are in which state."""
    states = [trial.state for trial in study.trials.values()]
    counts = {state: states.count(state) for state in STATES}
    best = study.best()
    accuracy = f"best {best.best_val_acc:.4f}" if best else "best -"
    order = (RUNNING, COMPLETED, STOPPED, FAILED)
    return ", ".join([accuracy, *(f"{counts[state]} {state}" for state in order)])


def describe_trial(trial: Trial) -> str:
    """One line about an ended trial."""
    accuracy = "-" if trial.best_val_acc is None else f"{trial.best_val_acc:.4f}"
    error = f"  {trial.error}" if trial.error else ""
    return (
        f"{trial.trial_id} {trial.state:<9} best_val_acc {accuracy}  epochs {trial.epochs:>2}  "
        f"{trial.seconds:.1f} s  {trial.name}{error}"
    )
