"""Snapshots of a search that runs in this process."""

import time
from dataclasses import dataclass, field

from analysis.class_counts import beside
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.expected_epochs import seconds_left
from inat.tuning.live.printed import Printed
from inat.tuning.live.snapshot import Snapshot, TrialViews, name_of, refit_messages
from inat.tuning.rungs import Rungs

LEFT_SECONDS = 5.0  # between two estimates, for which all trials are looked at


@dataclass(slots=True)
class SearchSource:
    """Makes the snapshots; ``add_epoch`` must be called with each epoch of this run. ``ending`` has the trials to end.

    ``wanted`` is None if the time decides how many trials there are. ``deadline`` is by ``time.monotonic``, ``budget``
    in seconds; None without a time budget.
    """

    study: Study
    wanted: int | None
    rungs: Rungs | None = None
    deadline: float | None = None
    budget: float | None = None
    can_end: bool = False
    started: float = field(default_factory=lambda: time.monotonic())
    stopping: bool = False
    ending: set[str] = field(default_factory=set)
    printed: Printed = field(default_factory=Printed)
    _epochs_done: int = 0
    _trains_since: float = 0.0
    _views: TrialViews = field(init=False)
    _estimate: tuple[float, float | None] = (float("-inf"), None)

    def __post_init__(self) -> None:
        self._views = TrialViews(self.study)

    def add_epoch(self, trial: Trial) -> None:
        """Count an epoch that ``trial`` has reported. Before the first one the processes start, once in a search."""
        if not self._epochs_done:
            self._trains_since = max(self.started, time.monotonic() - trial.seconds)
        self._epochs_done += 1

    def __call__(self) -> Snapshot:
        """The search as it is now."""
        now = time.monotonic()
        elapsed, budget = now - self.started, None
        if self.budget is not None and self.deadline is not None:
            elapsed, budget = min(self.budget, self.budget - (self.deadline - now)), self.budget
        running = self._views.running()
        return Snapshot(
            study=name_of(self.study.directory),
            status="stopping" if self.stopping else "running",
            objective=self.study.objective,
            wanted=self.wanted,
            max_epochs=self.rungs.max_epochs * self.rungs.trainings if self.rungs else None,
            best=self._views.best(),
            elapsed=elapsed,
            budget=budget,
            left=self._left(now),
            constant=beside(self.study.info, self.study.objective).strip(" ()"),
            running=running,
            ended=self._views.ended(),
            messages=(*self.printed.lines(10), *refit_messages(self.study.info)),
            ending=frozenset(self.ending),
            can_end=self.can_end,
            on_quit="stop the search",
        )

    def seconds_left(self) -> float | None:
        """The estimated seconds until the search ends; None before the first epoch of this run."""
        now = time.monotonic()
        within = None if self.deadline is None else max(0.0, self.deadline - now)
        if self.rungs is None or self.wanted is None:
            return within
        trials = list(self.study.trials.values())
        left = seconds_left(trials, self.wanted, self.rungs, now - self._trains_since, self._epochs_done)
        return left if within is None or left is None else min(left, within)

    def _left(self, now: float) -> float | None:
        """The last estimate, at most LEFT_SECONDS old, less the time gone since."""
        at, left = self._estimate
        if now - at > LEFT_SECONDS or left is None:
            at, left = self._estimate = (now, self.seconds_left())
        return None if left is None else max(0.0, left - (now - at))
