"""A training that has to end at a given time: how far its schedule is at each step, and whether another epoch fits.

A schedule that a deadline cuts off leaves the weights at a high learning rate, where they are far from their best. So
the schedule follows the time: it is planned anew before each epoch, for the epochs that still fit, and ends with the
last of them. That the rate falls to its end within the budget counts more than the shape of the schedule: Li, Yumer and
Ramanan, "Budgeted Training" (https://arxiv.org/abs/1905.04753).
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Final

MARGIN: Final = 1.05  # an epoch is given this many times the seconds that the last ones took
RECENT: Final = 3  # epochs whose median says how long the next one takes


class Pace:
    """How fast the schedule of a training goes that has to end at ``ends``, by ``clock``.

    ``epoch_seconds`` is what an epoch is expected to take, until some have been trained. There are at most
    ``most_epochs``. ``share`` is the part of the schedule that the epochs so far have used, from 0 to 1; a training
    that goes on from a checkpoint sets it.

    >>> now = 0.0
    >>> pace = Pace(ends=100.0, epoch_seconds=20.0, most_epochs=9, clock=lambda: now)
    >>> pace.begin_epoch(done=0, step=0, steps=10)  # 4 epochs fit
    >>> pace.share_at(5), pace.share_at(10)
    (0.125, 0.25)
    >>> now = 40.0  # it took twice as long: there is time for one more
    >>> pace.end_epoch(done=1)
    False
    >>> pace.begin_epoch(done=1, step=10, steps=10)
    >>> pace.share_at(20)
    1.0
    """

    def __init__(
        self, ends: float, epoch_seconds: float, most_epochs: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.share = 0.0
        self._ends, self._expected, self._most, self._clock = ends, epoch_seconds, most_epochs, clock
        self._began: list[float] = []  # when the epochs of this process began
        self._first_step, self._per_step, self._part = 0, 0.0, 0.0

    def begin_epoch(self, done: int, step: int, steps: int) -> None:
        """Plan an epoch of ``steps`` steps whose first one is ``step``, after ``done`` epochs."""
        now = self._clock()
        self._began.append(now)
        fitting = int((self._ends - now) / (MARGIN * self._seconds(self._began)))
        self._part = (1 - self.share) / max(1, min(self._most - done, fitting))
        self._first_step, self._per_step = step, self._part / steps

    def share_at(self, step: int) -> float:
        """The part of the schedule before ``step`` of the epoch that has begun."""
        return min(1.0, self.share + self._per_step * (step - self._first_step))

    def end_epoch(self, done: int) -> bool:
        """Whether the training ends with the epoch that ends now, the ``done``-th one, as no more fit."""
        now = self._clock()
        self.share, self._per_step = self.share + self._part, 0.0
        left = self._ends - now
        return self.share > 1 - 1e-9 or done >= self._most or left < MARGIN * self._seconds([*self._began, now])

    def _seconds(self, began: list[float]) -> float:
        """What the next epoch will take, with validation and checkpoint."""
        taken = [after - before for before, after in pairwise(began)]
        return statistics.median(taken[-RECENT:]) if taken else self._expected
