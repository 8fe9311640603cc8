"""What the sampler learns from an ended trial, whatever epoch it ended at and however.

Trials end at different epochs: an accuracy of 0.6 after 3 epochs and one after 27 are not the same news. Each lesson is
a state and a value of Optuna's; raw accuracy and epochs stand beside as attributes, so that no analysis depends on it.
"""

import math
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from optuna.trial import TrialState

from inat.constants import COMPLETED, EPOCH, FAILED, METRIC, STOPPED
from inat.study.trial import Trial
from inat.training.memory import is_out_of_memory_text

StoppedPolicy = Literal["extrapolate", "last", "pruned"]
WORST = 0.0  # the worst legal validation accuracy
# What Ray and our watchdog say of a process that is gone. At the beginning only: an error of the user's code may say
# that something died, too.
_GONE = re.compile(
    r"(?:ray\.exceptions\.\w+: )?"
    r"(?:The (?:actor|worker) (?:died|is dead|experienced an error)|The task's local raylet died"
    r"|Task failed because the node|no epoch within)"
)


@dataclass(frozen=True, slots=True)
class Rungs:
    """ASHA's rungs: epochs at which trials are compared, ``grace * factor**k`` below ``max_epochs``."""

    grace: int
    factor: int
    max_epochs: int

    @property
    def milestones(self) -> list[int]:
        """Epochs of the rungs, ascending."""
        found, epoch = [], self.grace
        while epoch < self.max_epochs:
            found.append(epoch)
            epoch *= self.factor
        return found

    def rung_of(self, epochs: int) -> int:
        """How many rungs a trial of ``epochs`` has reached."""
        return sum(milestone <= epochs for milestone in self.milestones)


@dataclass(frozen=True, slots=True)
class SamplerFeedback:
    """What Optuna is told; ``value`` is None for FAIL, and for PRUNED, where it takes the last epoch's."""

    state: TrialState
    value: float | None


def feedback_for(trial: Trial, before: Iterable[Trial], policy: StoppedPolicy) -> SamplerFeedback:
    """The lesson of an ended ``trial`` when ``before`` had ended already.

    A trial that ended by itself counts with its best accuracy, WORST if that is not a number. One that ASHA stopped,
    by ``policy``: "last" with its best accuracy so far, "pruned" as Optuna's PRUNED, "extrapolate" with its best
    accuracy plus the median gain that completed trials made after that epoch. One that ran out of memory or whose
    process died counts as WORST, any other failure as FAIL, which samplers ignore.
    """
    if trial.state == FAILED:
        # One that died of its own size must be avoided; a bug says nothing about the hyperparameters.
        deadly = is_out_of_memory_text(trial.error) or _GONE.match(trial.error)
        return SamplerFeedback(TrialState.COMPLETE, WORST) if deadly else SamplerFeedback(TrialState.FAIL, None)
    value = trial.best_val_acc
    if value is None or not math.isfinite(value):
        return SamplerFeedback(TrialState.COMPLETE, WORST)
    if trial.state == STOPPED and policy == "pruned":
        return SamplerFeedback(TrialState.PRUNED, None)
    if trial.state == STOPPED and policy == "extrapolate":
        value = min(1.0, value + median_gain(before, trial.epochs))
    return SamplerFeedback(TrialState.COMPLETE, value)


def median_gain(trials: Iterable[Trial], epoch: int) -> float:
    """By how much completed trials that trained beyond ``epoch`` improved afterwards; 0 if there is none."""
    gains = [
        trial.best_val_acc - at_epoch
        for trial in trials
        if trial.state == COMPLETED
        and trial.epochs > epoch
        and trial.best_val_acc is not None
        and math.isfinite(trial.best_val_acc)
        and (at_epoch := best_at(trial, epoch)) is not None
    ]
    return statistics.median(gains) if gains else 0.0


def best_at(trial: Trial, epoch: int) -> float | None:
    """Best validation accuracy up to ``epoch``; None before the first."""
    values = [float(row[METRIC]) for row in trial.history if row[EPOCH] <= epoch]
    return values[-1] if values else None
