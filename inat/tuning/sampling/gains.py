"""What completed trials gained after a certain progress, for the value that a stopped trial counts with."""

import math
import statistics
from collections.abc import Iterable

from inat.constants import COMPLETED
from inat.study.folds import progress, progress_within
from inat.study.trial import Trial

Reached = tuple[int, int]  # as ``inat.study.folds.progress`` counts


class Gains:
    """The changes of the best values of ended trials after the progress at which other trials were stopped.

    Trials are stopped at few different epochs, ASHA's rungs. The changes after each of them are kept, so that the time
    for a stopped trial does not grow with the epochs of all trials before it.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._completed: list[Trial] = []
        self._gains: dict[Reached, list[float]] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: Trial) -> None:
        """Take in a trial that has ended; only completed ones with a finite value count."""
        if trial.state != COMPLETED or trial.best_value is None or not math.isfinite(trial.best_value):
            return
        self._completed.append(trial)
        for reached, gains in self._gains.items():
            gains += gain_after(trial, reached)

    def median_after(self, reached: Reached) -> float:
        """Median change of the best value of the completed trials after ``reached``; 0 if none went further.

        With folds, the mean over more of them may be worse, and so may be the change.
        """
        if reached not in self._gains:
            self._gains[reached] = [gain for trial in self._completed for gain in gain_after(trial, reached)]
        gains = self._gains[reached]
        return statistics.median(gains) if gains else 0.0


def gain_after(trial: Trial, reached: Reached) -> list[float]:
    """The change of a completed trial's best value after ``reached``; empty if it has no epoch before or after."""
    at_epoch = best_until(trial, reached)
    if trial.best_value is None or at_epoch is None or reached_by(trial) <= reached:
        return []
    return [trial.best_value - at_epoch]


def best_until(trial: Trial, reached: Reached) -> float | None:
    """Best value up to and including a progress; None if the trial has no epoch by then."""
    column = trial.objective.best_column
    values = [float(row[column]) for row in trial.history if progress_within(row, trial.epoch_cost) <= reached]
    return values[-1] if values else None


def reached_by(trial: Trial) -> Reached:
    """The progress of a trial with an epoch, in epochs of the recipe where trials are compared at equal cost."""
    return progress(trial.history[-1], trial.epoch_cost)
