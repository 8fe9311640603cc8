"""What ends a search before it has all its trials: a signal, a limit, or a study that cannot be written."""

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from ray.tune import Stopper

from inat.signals import end_process, ending_signals, run_before_end
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
    """Stops the search at the first Ctrl-C, SIGTERM or SIGHUP, while used as a context manager.

    The second signal ends the process at once, and so does FORCED_EXIT_SECONDS after the first signal; the study on
    disk is complete at each moment. ``on_forced_exit`` is called before with INTERRUPTION, or with the sentence that a
    server of Ray has died, which ends the process as well.
    """

    def __init__(self, on_forced_exit: Callable[[str], object]) -> None:
        self.requested = False
        self._exit_code = 1
        self._on_forced_exit = on_forced_exit
        self._previous: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        # Python runs a handler in the main thread only, which may wait inside Ray for minutes. The system writes the
        # number of each signal to a socket at once, and a thread reads it there.
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _do_nothing) for number in ending_signals()}
        threading.Thread(target=self._watch, name=type(self).__name__, daemon=True).start()
        return self

    def request(self) -> None:
        """Stop the search as one Ctrl-C does; does nothing if it is stopping."""
        if not self.requested:
            self._on_signal(signal.SIGINT)

    def rearm(self) -> None:
        """Install the handlers again after another library has replaced them."""
        for number in self._previous:
            signal.signal(number, _do_nothing)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._sender.close()  # ends the thread

    def _watch(self) -> None:
        with self._receiver:
            while received := self._receiver.recv(1):
                if received[0] in self._previous:
                    self._on_signal(received[0])

    def _on_signal(self, number: int) -> None:
        self._exit_code = 128 + number
        if self.requested:
            self._exit(INTERRUPTION)
        self.requested = True
        self._timer = threading.Timer(FORCED_EXIT_SECONDS, self._exit, args=(INTERRUPTION,))
        self._timer.daemon = True
        self._timer.start()
        with suppress(OSError):  # the terminal may have been closed
            print("\nstopping; a second signal ends the search at once", file=sys.stderr, flush=True)

    def exit_without(self, server: str) -> None:
        """End the process, because a server of Ray has died; after a signal that is part of the interruption."""
        self._exit(INTERRUPTION if self.requested else f"error: Ray's {server} has died")

    def _exit(self, cause: str) -> None:
        # The main thread may hang inside Ray, where it could not raise anything.
        run_before_end()
        with suppress(Exception):
            self._on_forced_exit(cause)
        with suppress(Exception):
            kill_servers()
        end_process(self._exit_code)

    def stop_all(self) -> bool:
        return self.requested


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass


class StopAtLimits(SearchStopper):
    """Stops the search after ``seconds``, or once a trial has ``target`` or a better value in all its ``trainings``.

    None: no limit. ``spent`` are the seconds that a race before the search has used.

    ``reason`` says which limit was reached, "" before. ``on_trial_update`` must be called with each trial that changes.
    """

    def __init__(
        self, study: Study, seconds: float | None, target: float | None, trainings: int = 1, spent: float = 0.0
    ) -> None:
        self._trainings = trainings
        self.reason = ""
        self._ends = None if seconds is None else time.monotonic() + seconds - spent
        self._seconds, self._target = seconds, target
        for trial in study.ended():
            self.on_trial_update(trial)

    @property
    def deadline(self) -> float | None:
        """When the time budget ends, by ``time.monotonic``; None without one."""
        return self._ends

    @property
    def budget(self) -> float | None:
        """The seconds of the time budget; None without one."""
        return self._seconds

    def on_trial_update(self, trial: Trial) -> None:
        """Check the best value of a trial that has changed."""
        if self.reached_target(trial) and not self.reason:
            self.reason = describe_reached(trial, self._target)

    def reached_target(self, trial: Trial) -> bool:
        """Whether there is a target and the trial has reached it, with folds as its mean over all of them."""
        return reaches_target(trial, self._target, self._trainings)

    def stop_all(self) -> bool:
        if not self.reason and self._ends is not None and time.monotonic() >= self._ends:
            self.reason = f"the time budget of {self._seconds:g} s is used up"
        return bool(self.reason)


def reaches_target(trial: Trial, target: float | None, trainings: int) -> bool:
    """Whether ``target`` is not None and the trial has reached it, with folds as its mean over all ``trainings``."""
    value = trial.best_value
    if target is None or value is None or (trial.folded and trial.folds_done < trainings):
        return False
    return trial.objective.reaches(value, target)


def describe_reached(trial: Trial, target: float | None) -> str:
    """Say that a trial has reached the target."""
    return f"{trial.trial_id} reached the target {trial.objective.short} of {target:g}"


class StopAtWriteError(SearchStopper):
    """Stops the search once its study cannot be written."""

    def __init__(self, lifecycle: TrialLifecycle) -> None:
        self._lifecycle = lifecycle

    def stop_all(self) -> bool:
        return self._lifecycle.error is not None
