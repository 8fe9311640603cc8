"""What the live view shows at one moment: plain values, taken from the trials of a study."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.rungs import epochs_at
from inat.config.objective import ACCURACY, Objective
from inat.config.trial import active_params
from inat.constants import EPOCH, LAST_DIR, REFIT, RUNNING, SECONDS
from inat.study.journal import Journal
from inat.study.trial import Trial

REFIT_MESSAGE = "learns from the validation photos, too: its results on them measure nothing"
NOT_RUNNING, PAUSED = "not running", "paused"  # status of a search, and state of its trials then


@dataclass(frozen=True, slots=True)
class TrialView:
    """One trial. ``curve`` has the objective of each epoch, ``now`` its last value, ``best`` the best so far.

    ``place`` is the node; ``note`` is the reason of a failure, or a remark. ``last_row`` has all metrics of the last
    epoch.
    """

    trial_id: str
    number: int
    name: str
    state: str = RUNNING
    epoch: int = 0
    now: float | None = None
    best: float | None = None
    curve: tuple[float, ...] = ()
    seconds_per_epoch: float | None = None
    place: str = ""
    note: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    last_row: Mapping[str, Any] = field(default_factory=dict)
    epoch_cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A search at one moment: ``running`` trials in order of number, ``ended`` ones with the latest first.

    ``elapsed``, ``left`` and ``budget`` (of --time-budget) are seconds, None if unknown or without a budget; ``during``
    says of what part ``elapsed`` is;
    ``max_epochs`` is the most epochs of a trial whose epoch costs 1. ``constant`` says what a constant answer scores,
    ``result`` what came of the last training and the test.
    ``can_end`` says whether a trial can be ended from here, ``ending`` which ones have been asked to, and ``on_quit``
    what the key q does.
    """

    study: str
    status: str = "running"
    objective: Objective = ACCURACY
    wanted: int | None = None
    max_epochs: int | None = None
    best: TrialView | None = None
    elapsed: float | None = None
    during: str = ""
    budget: float | None = None
    left: float | None = None
    constant: str = ""
    result: str = ""
    running: tuple[TrialView, ...] = ()
    ended: tuple[TrialView, ...] = ()
    messages: tuple[str, ...] = ()
    ending: frozenset[str] = frozenset()
    can_end: bool = False
    on_quit: str = "leave"

    def state_of(self, trial: TrialView) -> str:
        """The state of a trial in words: a trial that has not ended does not run if the search does not."""
        if trial.state != RUNNING:
            return trial.state
        return PAUSED if self.status == NOT_RUNNING else "ending" if trial.trial_id in self.ending else RUNNING

    def most_epochs(self, trial: TrialView) -> int | None:
        """The most epochs of a trial; None if they are not known."""
        return epochs_at(self.max_epochs, trial.epoch_cost) if self.max_epochs else None

    @property
    def trials(self) -> tuple[TrialView, ...]:
        """All trials."""
        return self.running + self.ended

    def find(self, trial_id: str) -> TrialView | None:
        """The trial with this id."""
        return next((trial for trial in self.trials if trial.trial_id == trial_id), None)


class TrialViews:
    """The views of the trials of ``journal``; one is made again only if its trial has changed."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._made: dict[str, tuple[Any, TrialView]] = {}

    def running(self) -> tuple[TrialView, ...]:
        """The running trials, in order of number."""
        return tuple(map(self.view, (trial for trial in self._trials() if trial.state == RUNNING)))

    def ended(self) -> tuple[TrialView, ...]:
        """The ended trials, with the latest first."""
        return tuple(map(self.view, reversed(self._journal.ended_in_order)))

    def best(self) -> TrialView | None:
        """The best trial, running or ended; see ``best_so_far``."""
        best = best_so_far(self._journal)
        return None if best is None else self.view(best)

    def view(self, trial: Trial) -> TrialView:
        """The view of one trial."""
        key = (trial.attempt, trial.state, len(trial.history), trial.epochs)
        known = self._made.get(trial.trial_id)
        if known is None or known[0] != key:
            known = self._made[trial.trial_id] = (key, view_of(trial))
        return known[1]

    def _trials(self) -> list[Trial]:
        return list(self._journal.trials.values())  # in one step, because another thread may add one


def view_of(trial: Trial) -> TrialView:
    """Copy what is shown of a trial, which another thread may change meanwhile."""
    rows = list(trial.history)
    last = rows[-1] if rows else {}
    curve = tuple(float(value) for row in rows if (value := row.get(trial.objective.column)) is not None)
    best = last.get(trial.objective.best_column)
    seconds = [float(row[SECONDS]) for row in rows if row.get(SECONDS) is not None]
    return TrialView(
        trial_id=trial.trial_id,
        number=trial.number,
        name=trial.name,
        state=trial.state,
        epoch=int(last.get(EPOCH, 0)),
        now=curve[-1] if curve else None,
        best=None if best is None else float(best),
        curve=curve,
        seconds_per_epoch=sum(seconds) / len(seconds) if seconds else None,
        place=trial.node,
        note=trial.error,
        params=active_params(trial.params),
        last_row=last,
        epoch_cost=trial.epoch_cost,
    )


def name_of(directory: Path) -> str:
    """The name of a study; of a last training, behind that of its search."""
    directory = directory.absolute()
    return f"{directory.parent.name}/{LAST_DIR}" if directory.name == LAST_DIR else directory.name


def refit_messages(info: Mapping[str, Any]) -> tuple[str, ...]:
    """What must be said of the results of a last training on the validation photos; ``info`` is its study.json."""
    return (REFIT_MESSAGE,) if info.get(REFIT) is True else ()


def best_so_far(journal: Journal) -> Trial | None:
    """The best trial, running or ended; failed trials do not count. With folds, more ended trainings rank first."""
    ended = journal.best()
    trials = [ended] if ended else []
    trials += [trial for trial in list(journal.trials.values()) if trial.state == RUNNING]
    ranked = [(rank, trial) for trial in trials if (rank := rank_of(journal, trial)) is not None]
    return min(ranked, key=lambda pair: pair[0], default=(None, None))[1]


def rank_of(journal: Journal, trial: Trial) -> tuple[int, float] | None:
    """The key by which running trials are ranked among ended ones, better ones first; None without a best value."""
    value = trial.best_value
    return None if value is None or math.isnan(value) else journal.rank(trial.folds_done, value)
