"""What the user sees while a search runs: a live page on a terminal, else lines about trials."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console

from analysis.terminal import PlainConsole
from inat.config.objective import ACCURACY
from inat.constants import FAILED, REFIT, RUNNING
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.live.keys import Action
from inat.tuning.live.page import LivePage
from inat.tuning.live.screen import Screen, can_show_page, keys_of_terminal
from inat.tuning.live.search_source import SearchSource
from inat.tuning.live.snapshot import best_so_far, rank_of
from inat.tuning.rungs import Rungs

SEEN = "  (on photos that it learns from)"  # behind the validation results of a refit
BEST_LINE_SECONDS = 60.0  # between two lines in a file about a better result of a running trial


class SearchProgress:
    """Context manager that shows the page; it must be called with each trial that changes.

    ``total`` trials are to end; None if the time decides how many.
    ``rungs``: those of the search, for the time left; ``deadline``: when its time budget of ``budget`` seconds ends, by
    ``time.monotonic``. ``stop`` stops the search as one Ctrl-C does, ``end_trial`` one trial; None: no key does that.
    """

    def __init__(
        self,
        study: Study,
        total: int | None,
        console: Console | None = None,
        *,
        rungs: Rungs | None = None,
        deadline: float | None = None,
        budget: float | None = None,
        stop: Callable[[], object] = lambda: None,
        end_trial: Callable[[str], object] | None = None,
    ) -> None:
        self._study = study
        self._total = total
        self._console = console or PlainConsole(soft_wrap=False)
        self._stop, self._end_trial = stop, end_trial
        self._started = 0.0
        self._seen = SEEN if study.info.get(REFIT) is True else ""
        self.source = SearchSource(
            study, total, rungs=rungs, deadline=deadline, budget=budget, can_end=end_trial is not None
        )
        # The last better result in a file, and when it was printed.
        self._shown: tuple[tuple[str, float | None], float] | None = None
        self._page: LivePage | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._started = self.source.started = time.monotonic()
        if can_show_page(self._console):
            screen = Screen(self._console.file, keys_of_terminal())
            self._page = self._stack.enter_context(LivePage(screen, self.source, self._act, self.source.printed))
            self._page.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, trial: Trial) -> None:
        if trial.state == RUNNING:
            self.source.add_epoch(trial)
        if trial.state == FAILED or (trial.state != RUNNING and not self._page_is_shown):
            self.print_line(f"{self._count} {describe_trial(trial)}{self._seen}")
        elif trial.state == RUNNING and not self._page_is_shown:
            self._print_better(trial)

    def print_line(self, line: str) -> None:
        """Print a line, or show it on the page."""
        if self._page_is_shown:
            self.source.printed.add(line)
        else:
            self._console.print(line, soft_wrap=True, markup=False)

    @property
    def _count(self) -> str:
        return f"[{self._study.num_ended}{'' if self._total is None else f'/{self._total}'}]"

    @property
    def _page_is_shown(self) -> bool:
        return self._page is not None and self._page.shown

    def _act(self, action: Action) -> str | None:
        if action.kind == "quit":
            self.source.stopping = True
            self._stop()
        elif self._end_trial is not None:
            self.source.ending.add(action.trial_id)
            self._end_trial(action.trial_id)
        return None

    def _print_better(self, trial: Trial) -> None:
        """Print that a running trial is the best so far, at most once in BEST_LINE_SECONDS."""
        now = time.monotonic()
        last = self._started if self._shown is None else self._shown[1]
        rank = rank_of(self._study, trial)
        if now - last < BEST_LINE_SECONDS or rank is None:
            return
        ended = self._study.best()  # most epochs are no better, so most need no look at all trials
        if ended is not None and rank >= (rank_of(self._study, ended) or rank):
            return
        if best_so_far(self._study) is not trial:
            return
        if self._shown is None or (trial.trial_id, trial.best_value) != self._shown[0]:
            self._shown = ((trial.trial_id, trial.best_value), now)
            self.print_line(f"{self._count} {describe_best(self._study)}{self._seen}")


def describe_best(study: Study) -> str:
    """The best value so far, with its trial and epoch while that trial runs; "-" before the first epoch."""
    best, objective = best_so_far(study), study.objective
    name = "best" if objective is ACCURACY else f"best {objective.short}"
    if best is None or best.best_value is None:
        return f"{name} -"
    where = f" ({best.trial_id}, epoch {best.epochs})" if best.state == RUNNING else ""
    return f"{name} {best.best_value:.4f}{where}"


def describe_trial(trial: Trial) -> str:
    """Return one line about an ended trial."""
    value = "-" if trial.best_value is None else f"{trial.best_value:.4f}"
    error = f"  {trial.error}" if trial.error else ""
    return (
        f"{trial.trial_id} {trial.state:<9} {trial.objective.best_column} {value}  epochs {trial.epochs:>2}  "
        f"{trial.seconds:.1f} s  {trial.name}{error}"
    )
