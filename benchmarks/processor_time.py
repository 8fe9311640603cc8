"""Processor seconds of this process and of everything that it starts."""

import threading
from contextlib import suppress

import psutil

INTERVAL = 0.2  # seconds between two looks: at most so much of a process's time is missed, at its end


class ProcessorTime:
    """Looks at the processes below this one while the block runs; ``seconds`` is their time and that of this process.

    On a machine that others use, it says more than the time on the clock.
    """

    def __enter__(self) -> "ProcessorTime":
        self._found: dict[tuple[int, float], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """Processor seconds until the last look."""
        return sum(self._found.values())

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()
        self._look()

    def _look(self) -> None:
        own = psutil.Process()
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._found[process.pid, process.create_time()] = times.user + times.system
