"""Trials of equal cost: a larger network trains for fewer epochs, and ASHA compares at what the epochs cost.

In a given time, the larger of two networks has fewer epochs. If both had as many, the larger one would often win the
search, and then have too little time for the last training. The unit is the cost of an epoch of the recipe.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from analysis.rungs import epochs_at
from inat.constants import COMPARED_AT, RECIPE_EPOCH
from inat.study.trial import Trial
from inat.tuning.budget import rules
from inat.tuning.rungs import Rungs
from inat.tuning.worker.trainable import RUNGS

# Small networks use a processor worse than their operations say: 0.31 of the operations took 0.39 of the seconds.
LEAST_ON_PROCESSOR: Final = 1 / 3
LEAST_ON_GPU: Final = 1.0  # a step of the recipe's network waits for its kernels to start, so a smaller one is as slow

LEAST: Final = "least_epoch_cost"  # in the time plan in study.json: which of the two a study has
Operations = Callable[[Mapping[str, Any]], int | None]  # of the network of these hyperparameters, for an image


@dataclass(frozen=True, slots=True)
class EqualCost:
    """What an epoch of a trial costs, and how long the trial trains.

    ``rungs`` are in epochs of the recipe, whose network needs ``recipe_operations`` for an image. ``operations``
    returns None for hyperparameters that make no network; their trial fails at once. With ``endless_patience``, no
    trial ends for lack of it.
    """

    rungs: Rungs
    operations: Operations
    recipe_operations: int
    least: float
    endless_patience: bool = True

    def epoch_cost(self, params: Mapping[str, Any]) -> float:
        """What an epoch with ``params`` costs, in epochs of the recipe, to a thousandth."""
        operations = self.operations(params)
        if operations is None:
            return 1.0
        return round(max(self.least, operations / max(1, self.recipe_operations)), 3)

    def epochs(self, params: Mapping[str, Any]) -> int:
        """The most epochs of a trial with ``params``."""
        return epochs_at(self.rungs.max_epochs, self.epoch_cost(params))

    def is_trained(self, params: Mapping[str, Any]) -> bool:
        """Whether there are enough epochs to rank a network with ``params``, or as many as the recipe has."""
        return self.epochs(params) >= min(rules.FEWEST_SEARCH_EPOCHS, self.rungs.max_epochs)

    def settings(self, trial: Trial) -> dict[str, Any]:
        """The settings of ``trial`` in place of those that all trials share."""
        epochs = epochs_at(self.rungs.max_epochs, trial.epoch_cost)
        milestones = [epochs_at(rung, trial.epoch_cost) for rung in self.rungs.milestones]
        patience = {"patience": epochs} if self.endless_patience else {}
        return {"max_epochs": epochs, RUNGS: milestones, **patience}


def compares_at_equal_cost(info: Mapping[str, Any]) -> bool:
    """Whether the study whose study.json is ``info`` compares trials at equal cost."""
    return info.get(COMPARED_AT) == RECIPE_EPOCH
