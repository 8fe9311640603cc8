"""What ends a search before it has all its trials: a signal, a limit, or a study that cannot be written."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from ray.tune import Stopper

from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.lifecycle import TrialLifecycle
from inat.tuning.ray_backend.server_watch import kill_servers
from inat.tuning.ray_backend.snapshots import NotInSnapshots

# `timeout`, systemd and Slurm signal all processes at once. Ray's servers then die first, and Tune waits for them.
FORCED_EXIT_SECONDS = 20.0
INTERRUPTION = "interrupted"


class SearchStopper(NotInSnapshots, Stopper):
    """Stops the whole search, never a single trial."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False


class StopOnSignal(SearchStopper):
    """Stops the search at the first Ctrl-C or SIGTERM, while used as a context manager; the second ends the process.

    If the search has not ended FORCED_EXIT_SECONDS after the signal, ``on_forced_exit`` is called with INTERRUPTION and
    the process ends; so it does if a server of Ray has died, with the sentence that says so. The study on disk is
    complete at each moment.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, on_forced_exit: Callable[[str], object]) -> None:
        self.requested = False
        self._exit_code = 1
        self._on_forced_exit = on_forced_exit
        self._previous: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._handle) for number in self.signals}
        return self

    def rearm(self) -> None:
        """Install the handlers again after another library has replaced them."""
        if not self.requested:
            for number in self.signals:
                signal.signal(number, self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._restore_handlers()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._exit_code = 128 + number
        print("\nstopping; a second signal ends the search at once", file=sys.stderr, flush=True)
        self._restore_handlers()
        self._timer = threading.Timer(FORCED_EXIT_SECONDS, self._exit, args=(INTERRUPTION,))
        self._timer.daemon = True
        self._timer.start()

    def exit_without(self, server: str) -> None:
        """End the process, because a server of Ray has died; after a signal that is part of the interruption."""
        self._exit(INTERRUPTION if self.requested else f"error: Ray's {server} has died")

    def _exit(self, cause: str) -> None:
        self._on_forced_exit(cause)
        kill_servers()
        os._exit(self._exit_code)  # the main thread hangs inside Ray and could not raise anything

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def stop_all(self) -> bool:
        return self.requested


class StopAtLimits(SearchStopper):
    """Stops the search after ``seconds``, or once a trial has ``accuracy``; None: no limit.

    ``reason`` says which limit was reached, "" before. ``on_trial_update`` must be called with each trial that changes.
    """

    def __init__(self, study: Study, seconds: float | None, accuracy: float | None) -> None:
        self.reason = ""
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._seconds, self._accuracy = seconds, accuracy
        for trial in study.ended():
            self.on_trial_update(trial)

    def on_trial_update(self, trial: Trial) -> None:
        """Check the accuracy of a trial that has changed."""
        if self.reached_target(trial) and not self.reason:
            self.reason = f"{trial.trial_id} reached the target accuracy of {self._accuracy:g}"

    def reached_target(self, trial: Trial) -> bool:
        """Whether there is a target accuracy and the trial has it."""
        return self._accuracy is not None and (trial.best_val_acc or 0.0) >= self._accuracy

    def stop_all(self) -> bool:
        if not self.reason and self._ends is not None and time.monotonic() >= self._ends:
            self.reason = f"the time budget of {self._seconds:g} s is used up"
        return bool(self.reason)


class StopAtWriteError(SearchStopper):
    """Stops the search once its study cannot be written."""

    def __init__(self, lifecycle: TrialLifecycle) -> None:
        self._lifecycle = lifecycle

    def stop_all(self) -> bool:
        return self._lifecycle.error is not None
