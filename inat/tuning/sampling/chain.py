"""Lessons on one scale, revised with each trial: the value that a trial would have at the end, rung by rung.

A trial that ASHA stopped counts with its best value plus the median gains from each rung to the next. Each median is
over all trials that have been at both rungs, whether they were stopped later, are running, or ended by themselves, with
a gain of 0 after that. Insurers estimate claims in this way (chain ladder; Mack 1993, ASTIN Bulletin 23). Completed
trials alone are few: of 16 that run at a time, none has completed when the first ones are stopped.

A running trial counts likewise from its first rung on. Until it ends, TPE would take it for a bad one (constant liar),
although it runs on because it was among the best at its rung.
"""

import math
import statistics
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import pairwise

from inat.config.objective import Objective
from inat.constants import COMPLETED, FAILED, RUNNING, STOPPED
from inat.study.folds import step_within
from inat.study.trial import Trial
from inat.tuning.rungs import Rungs


class Chain:
    """What the trials of a study count with for the sampler, by their numbers in Optuna.

    ``update`` takes in a trial after each epoch and when it ends. The order of the trials makes no difference.
    """

    def __init__(self, rungs: Rungs, objective: Objective) -> None:
        self._rungs = rungs
        self._objective = objective
        self._steps = [*rungs.steps, rungs.max_epochs * rungs.trainings]
        self._values: dict[int, list[float]] = {}  # of each trial at the rungs, ascending, that it has reached
        self._gains: list[list[float]] = [[] for _ in self._steps[1:]]  # from each rung to the next, ascending
        self._lessons: dict[int, tuple[int, float]] = {}  # of stopped and running trials: last rung, value before gains
        self._running: set[int] = set()
        self._rest: list[float] | None = None

    def update(self, trial: Trial, number: int) -> None:
        """Take in what has changed in a trial, whose number in Optuna is ``number``."""
        before = self._values.get(number, [])
        if trial.state == RUNNING and self._reached(trial) == len(before):
            return
        values = self._values_of(trial)
        self._replace_gains(before, values)
        self._values[number] = values
        self._running.discard(number)
        self._lessons.pop(number, None)
        best = values[-1:] if trial.state == RUNNING else [trial.best_value]
        if trial.state in (RUNNING, STOPPED) and values and best[0] is not None and math.isfinite(best[0]):
            self._lessons[number] = (len(values) - 1, best[0])
            if trial.state == RUNNING:
                self._running.add(number)

    def _reached(self, trial: Trial) -> int:
        return bisect_right(self._steps, self._rungs.step(trial))

    def _values_of(self, trial: Trial) -> list[float]:
        """The best values up to each rung that the trial has reached; one that ended by itself has reached all."""
        if trial.state == FAILED or not trial.history:
            return []
        column = trial.objective.best_column
        most, cost = self._rungs.max_epochs, trial.epoch_cost
        rows = [(step_within(row, most, cost), float(row[column])) for row in trial.history]
        last = self._rungs.step(trial)
        reached = [step for step in self._steps if step <= last or trial.state == COMPLETED]
        until = [[value for step, value in rows if step <= rung] for rung in reached]
        return [values[-1] if values else math.nan for values in until]  # a resumed trial may lack its first epochs

    def _replace_gains(self, before: Sequence[float], after: Sequence[float]) -> None:
        for gains, (low, high) in zip(self._gains, pairwise(before), strict=False):
            if math.isfinite(high - low):
                del gains[bisect_left(gains, high - low)]
        for gains, (low, high) in zip(self._gains, pairwise(after), strict=False):
            if math.isfinite(high - low):
                insort(gains, high - low)
        self._rest = None

    @property
    def running(self) -> set[int]:
        """The numbers of the running trials that have reached a rung."""
        return self._running

    def rung_of(self, number: int) -> int | None:
        """The last rung of a trial, as a position; None if the trial counts with the value that Optuna has."""
        lesson = self._lessons.get(number)
        return None if lesson is None else lesson[0]

    def value_of(self, number: int) -> float | None:
        """What a trial counts with by all that is known now; None if it counts with the value that Optuna has."""
        lesson = self._lessons.get(number)
        if lesson is None:
            return None
        if self._rest is None:
            medians = [statistics.median(gains) if gains else 0.0 for gains in self._gains]
            self._rest = [sum(medians[rung:]) for rung in range(len(self._steps))]
        rung, value = lesson
        return self._objective.clamp(value + self._rest[rung])
