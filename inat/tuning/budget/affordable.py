"""Whether a trial would end before the search has to, from the operations of its network."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.budget import rules
from inat.tuning.budget.clock import Clock, epoch_seconds
from inat.tuning.equal_cost import EqualCost, Operations
from inat.tuning.network_timing import size_of
from inat.tuning.space.grid import params_key


class Affordable:
    """Says of hyperparameters whether their trial, if nothing stops it, ends before the search has to.

    An epoch takes the recipe's measured seconds times the operations of the network over those of the recipe, and times
    how much slower than that the study's trials were. ``operations`` returns None for hyperparameters that make no
    network; their trial fails at once. Without ``equal_cost``, each trial trains for ``max_epochs``.
    """

    def __init__(
        self,
        study: Study,
        clock: Clock,
        max_epochs: int,
        operations: Operations,
        equal_cost: EqualCost | None = None,
    ) -> None:
        self._study, self._clock, self._epochs, self._operations = study, clock, max_epochs, operations
        self._equal_cost = equal_cost
        self._expected: dict[str, float] = {}

    def __call__(self, params: Mapping[str, Any]) -> bool:
        seconds = self.seconds(params)
        return seconds is None or time.monotonic() + self._most_epochs(params) * seconds <= self._clock.search_ends

    def _most_epochs(self, params: Mapping[str, Any]) -> int:
        return self._epochs if self._equal_cost is None else self._equal_cost.epochs(params)

    def seconds(self, params: Mapping[str, Any]) -> float | None:
        """Predicted seconds of an epoch; None for hyperparameters that make no network."""
        expected = self._unscaled(params)
        return None if expected is None else expected * self._slowness()

    def _unscaled(self, params: Mapping[str, Any]) -> float | None:
        operations = self._operations(params)
        if operations is None:
            return None
        return self._clock.plan.epoch_seconds * operations / max(1, self._clock.plan.operations)

    def _slowness(self) -> float:
        """The median of real over expected seconds of an epoch; what is planned before there is one."""
        ratios = [ratio for trial in self._study.trials.values() if (ratio := self._ratio(trial)) is not None]
        return statistics.median(ratios) if ratios else rules.SAFETY

    def _ratio(self, trial: Trial) -> float | None:
        real = epoch_seconds(trial)
        if real is None:
            return None
        if trial.trial_id not in self._expected:
            self._expected[trial.trial_id] = self._unscaled(trial.params) or 0.0
        expected = self._expected[trial.trial_id]
        return real / expected if expected else None


def operations_of(config: SearchConfig, num_classes: int) -> Operations:
    """A function from hyperparameters of a trial of ``config`` to the operations of its network for an image.

    It counts those of a configuration once, although a suggestion asks for its cost, its epochs and its seconds.
    """
    settings, known = config.trial_settings(), dict[str, int | None]()

    def counted(params: Mapping[str, Any]) -> int | None:
        try:
            return size_of(TrialConfig.from_params({**settings, **params}), num_classes).operations
        except ConfigError:
            return None

    def operations(params: Mapping[str, Any]) -> int | None:
        key = params_key(params)
        if key not in known:
            known[key] = counted(params)
        return known[key]

    return operations
