"""What a race expected its trials to take, so that it can plan again once the first epochs have shown the real speed.

A few timed batches on a busy machine may be wrong by a factor. A way to train that seemed up to SLACK times too long is
therefore not dropped for good: it gets its turn if the trials that have run were as much faster than expected.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from inat.config.backbones import UNFREEZE_ALL, WHOLE
from inat.config.trial import active_params
from inat.constants import PREPARATION
from inat.study.trial import Trial

SLACK: Final = 2.0
CHOSEN = ("backbone", "strategy", "k_layers")  # what a race decides; the rest has one value in all of its waves


@dataclass(frozen=True, slots=True)
class Expected:
    """A way to train a backbone, and the seconds of such a trial that nothing stops."""

    params: Mapping[str, Any]
    seconds: float

    @property
    def backbone(self) -> str:
        """Its backbone."""
        return str(self.params["backbone"])

    @property
    def strategy(self) -> str:
        """Its strategy."""
        return str(self.params["strategy"])


@dataclass(frozen=True, slots=True)
class Forecast:
    """All ways to train the leaders of a race, the best leader's first, from fast to slow.

    ``partial_seconds`` and ``full_seconds`` are the time for frozen or partly frozen trials and for whole networks,
    ``full`` is the largest number of the latter, and ``epochs`` those of a trial that nothing stops.
    """

    expected: Sequence[Expected]
    partial_seconds: float
    full_seconds: float
    full: int
    epochs: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What ``dataclasses.asdict`` made of one."""
        rows = [Expected(dict(row["params"]), float(row["seconds"])) for row in values["expected"]]
        partial, full = float(values["partial_seconds"]), float(values["full_seconds"])
        return cls(rows, partial, full, int(values["full"]), int(values["epochs"]))

    def possible(self) -> list[Expected]:
        """What the real speed may show to fit: nothing that seemed more than SLACK times too long by itself."""
        return [one for one in self.expected if one.seconds <= SLACK * self._limit(one)]

    def _limit(self, one: Expected) -> float:
        return self.full_seconds if one.strategy in WHOLE else self.partial_seconds

    def slowness(self, trials: Iterable[Trial]) -> float | None:
        """The median of real over expected seconds, as if each trial reached its last epoch; None before the first one.

        >>> Forecast([], 60.0, 60.0, 1, 10).slowness([]) is None
        True
        """
        seconds = {chosen(one.params): one.seconds for one in self.expected}
        ratios = [
            (_preparation(trial) + trial.seconds * self.epochs / trial.epochs) / seconds[chosen(trial.params)]
            for trial in trials
            if trial.epochs and seconds.get(chosen(trial.params))
        ]
        return statistics.median(ratios) if ratios else None

    def more_partial(self, planned: Sequence[Mapping[str, Any]], slowness: float) -> list[Mapping[str, Any]]:
        """The frozen or partly frozen trials beside the ``planned`` ones that fit at the real speed."""
        known = {chosen(params) for params in planned}
        spent = sum(one.seconds for one in self.expected if chosen(one.params) in known)
        more = []
        for one in self.possible():
            if one.strategy in WHOLE or chosen(one.params) in known:
                continue
            if (spent + one.seconds) * slowness <= self.partial_seconds:
                spent += one.seconds
                more.append(one.params)
        return more

    def whole(self, slowness: float) -> tuple[list[str], int]:
        """The backbones whose whole network fits at the real speed, and how many of them."""
        costs = {one.backbone: one.seconds * slowness for one in self.possible() if one.strategy == UNFREEZE_ALL}
        fitting = {name: cost for name, cost in costs.items() if cost <= self.full_seconds}
        return list(fitting), most_that_fit(fitting.values(), self.full, self.full_seconds)


def _preparation(trial: Trial) -> float:
    """Seconds before the first epoch, in which features are computed."""
    return sum(float(row.get(PREPARATION) or 0) for row in trial.history)


def most_that_fit(costs: Iterable[float], most: int, seconds: float) -> int:
    """How many trials fit into ``seconds``, at most ``most``, whichever they are: as many as of the slowest ones.

    >>> most_that_fit([10.0, 30.0, 20.0], 3, 55.0)
    2
    """
    slowest = sorted(costs, reverse=True)[:most]
    return max((n for n in range(1, len(slowest) + 1) if sum(slowest[:n]) <= seconds), default=0)


def chosen(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a race decides of the hyperparameters of a trial."""
    active = active_params(params)
    return tuple(active.get(name) for name in CHOSEN)
