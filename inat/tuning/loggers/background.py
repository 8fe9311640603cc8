"""Loggers that write in a thread of their own, so that the search never waits for them."""

import queue
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from inat.study.trial import Trial


class BackgroundLogger(ABC):
    """Context manager that writes the items it is given, in order; on leaving, it waits until all are written.

    The study does not depend on such a logger: if it fails, ``error`` holds the reason, further items are dropped, and
    the search goes on. ``label`` names what it writes.
    """

    label: str

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=type(self).__name__)

    @abstractmethod
    def __call__(self, trial: Trial) -> None:
        """Queue what changed about a trial."""

    def put(self, item: Any) -> None:
        """Queue an item; it must not change afterwards."""
        self._queue.put(item)

    @abstractmethod
    def open(self) -> None:
        """Prepare for writing; called in the thread before the first item."""

    @abstractmethod
    def write(self, item: Any) -> None:
        """Write an item; called in the thread."""

    def flush(self) -> None:  # noqa: B027 - most loggers keep nothing back
        """Called in the thread whenever all queued items have been written."""

    @abstractmethod
    def close(self) -> None:
        """Release everything; called in the thread after the last item, also after an error."""

    def _work(self) -> None:
        try:
            self.open()
            for item in iter(self._queue.get, None):
                self.write(item)
                if self._queue.empty():
                    self.flush()
            self.flush()
        except Exception as error:  # whatever a database or a tracking service raises, the search goes on
            self.error = error
        finally:
            self.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
