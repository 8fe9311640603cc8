"""Stop a search cleanly at the first Ctrl-C or SIGTERM; a second one ends the process at once."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

from ray.tune import Stopper


class StopOnSignal(Stopper):
    """A Tune stopper that is also the signal handler, while used as a context manager."""

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._handle) for number in self.signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.requested

    def __getstate__(self) -> dict[str, Any]:
        return {"requested": self.requested, "_previous": {}}  # Tune copies its stopper; handlers stay here
