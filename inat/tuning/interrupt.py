"""Stop a search cleanly at the first Ctrl-C or SIGTERM; a second one ends the process at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from ray.tune import Stopper

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
