"""Which trials are as good as the best one and cost less.

The best of many trials is partly the luckiest, so a cheaper trial within one standard error of its value is as good a
choice: the one-standard-error rule. Sources: Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees"
(1984), section 3.4.3; Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning" (2nd ed. 2009), section
7.10.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from analysis.class_counts import validation_images
from inat.config.costs import EPOCH_SECONDS, NOISE, OFF, PARAMETERS, SHARES
from inat.constants import SECONDS
from inat.study.events import is_number
from inat.study.trial import Trial


@dataclass(frozen=True, slots=True)
class CostRule:
    """What a trial costs, and how much worse a cheaper one may be: ``preference`` is OFF, NOISE or a distance.

    ``images`` is the number of validation images, None if it is not known.
    """

    kind: str = PARAMETERS
    preference: str | float = OFF
    images: int | None = None

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """The rule of a study with this study.json; studies of earlier versions prefer nothing."""
        config = info.get("config")
        config = config if isinstance(config, Mapping) else {}
        kind, preference = config.get("cost"), config.get("prefer_cheaper", OFF)
        known = preference == NOISE or (is_number(preference) and preference >= 0)
        images = validation_images(info)[0]
        return cls(EPOCH_SECONDS if kind == EPOCH_SECONDS else PARAMETERS, preference if known else OFF, images)

    @property
    def prefers_cheaper(self) -> bool:
        """Whether a cheaper trial may take the place of the best one."""
        return self.preference != OFF

    def cost_of(self, trial: Trial) -> float | None:
        """The parameters that a trial trains, or the median seconds of its epochs; None if unknown."""
        if self.kind == PARAMETERS:
            return trial.trainable_parameters
        seconds = [float(row[SECONDS]) for row in trial.history if row.get(SECONDS)]
        return statistics.median(seconds) if seconds else None

    def allowance(self, best: Trial) -> float:
        """How much worse than ``best`` a cheaper trial may be, in the metric.

        Of NOISE that is the standard error of the value of ``best``: over its folds and repeats, or, of a share of the
        images, the binomial one; 0 if neither is known.
        """
        if not self.prefers_cheaper:
            return 0.0
        if isinstance(self.preference, float | int):
            return float(self.preference)
        if best.standard_error is not None:
            return best.standard_error
        value = best.best_value
        if best.folded or best.objective.name not in SHARES or value is None or not self.images:
            return 0.0
        return math.sqrt(max(value * (1 - value), 0.0) / self.images)

    def as_good_as(self, best: Trial, ranking: Sequence[Trial]) -> list[Trial]:
        """The trials of ``ranking`` that may take the place of ``best``, and ``best``: the cheapest first.

        Only ``best`` if nothing cheaper is preferred, or if its cost is unknown. A trial with fewer folds than ``best``
        is not compared: the mean over few folds is the luckier one.
        """
        own = self.cost_of(best)
        if not self.prefers_cheaper or own is None:
            return [best]
        least = _signed(best) - self.allowance(best)
        found = [(own, -_signed(best), -1, best)]
        for place, trial in enumerate(ranking):
            cost = self.cost_of(trial)
            alike = trial is not best and trial.folds_done == best.folds_done and _signed(trial) >= least
            if alike and cost is not None and cost < own:
                found.append((cost, -_signed(trial), place, trial))
        return [trial for *_, trial in sorted(found, key=lambda entry: entry[:3])]


def _signed(trial: Trial) -> float:
    """The best value of a trial, higher ones better."""
    assert trial.best_value is not None
    return trial.objective.sign * trial.best_value


def better_than_all_cheaper(trials: Sequence[Trial]) -> list[Trial]:
    """Of trials in order of cost, those that are better than all before them."""
    front: list[Trial] = []
    for trial in trials:
        if not front or _signed(trial) > _signed(front[-1]):
            front.append(trial)
    return front
