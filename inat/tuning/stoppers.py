"""Stop a search when its time is used up or it is good enough."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from ray.tune import Stopper

from inat.constants import COMPLETED
from inat.study.study import Study
from inat.study.trial import Trial


class StopAtLimits(Stopper):
    """A Tune stopper, and a listener of trials; ``reason`` says in words which limit was reached, "" before."""

    def __init__(self, study: Study, seconds: float | None, accuracy: float | None) -> None:
        self.reason = ""
        self._study = study
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._seconds, self._accuracy = seconds, accuracy
        for trial in study.ended():
            self.hear(trial)

    def hear(self, trial: Trial) -> None:
        """Look at a trial that has changed."""
        if self._good_enough(trial) and not self.reason:
            self.reason = f"{trial.trial_id} reached the target accuracy of {self._accuracy:g}"

    def _good_enough(self, trial: Trial) -> bool:
        return self._accuracy is not None and (trial.best_val_acc or 0.0) >= self._accuracy

    def finish_interrupted(self, end: Callable[[str, str, str], object]) -> None:
        """End the running trials that are good enough: what they were searched for is there."""
        for trial in self._study.unfinished():
            if self._good_enough(trial):
                end(trial.trial_id, COMPLETED, "ended at the target accuracy")

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self.reason and self._ends is not None and time.monotonic() >= self._ends:
            self.reason = f"the time budget of {self._seconds:g} s is used up"
        return bool(self.reason)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its stopper into a snapshot that we never read


# `timeout`, systemd and Slurm signal all processes at once. Ray's servers then die first, and Tune waits for them.
PATIENCE_SECONDS = 20.0


class StopOnSignal(Stopper):
    """A Tune stopper that is also the signal handler, while used as a context manager.

    If the search has not come to its end ``PATIENCE_SECONDS`` after the signal, ``give_up`` is called and the process
    ends; everything of the study is on disk at every moment.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, give_up: Callable[[], object]) -> None:
        self.requested = False
        self._give_up = give_up
        self._previous: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._handle) for number in self.signals}
        return self

    def rearm(self) -> None:
        """Take the signals again from somebody who has taken them meanwhile."""
        if not self.requested:
            for number in self.signals:
                signal.signal(number, self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        print("\nstopping; a second signal ends the search at once", file=sys.stderr, flush=True)
        self._restore()
        self._timer = threading.Timer(PATIENCE_SECONDS, self._end, args=(128 + number,))
        self._timer.daemon = True
        self._timer.start()

    def _end(self, code: int) -> None:
        self._give_up()
        os._exit(code)  # the main thread hangs inside Ray and could not raise anything

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.requested

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its stopper into a snapshot that we never read; handlers and timers stay here
