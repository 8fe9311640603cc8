"""Side records of a search, written by a thread of their own, so that the search never waits for them."""

import queue
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self


class BackgroundWriter(ABC):
    """A context manager that writes what is ``put``, in order; leaving it waits until all is written.

    A side record is a convenience. If it fails, ``error`` says why and the rest is dropped: the search goes on.
    """

    label: str

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=type(self).__name__)

    def put(self, item: Any) -> None:
        """Hand over one item; it must not change any more."""
        self._queue.put(item)

    @abstractmethod
    def open(self) -> None:
        """Called in the thread before the first item."""

    @abstractmethod
    def write(self, item: Any) -> None:
        """Called in the thread with each item."""

    @abstractmethod
    def close(self) -> None:
        """Called in the thread after the last item, also after an error."""

    def _work(self) -> None:
        try:
            self.open()
            for item in iter(self._queue.get, None):
                self.write(item)
        except Exception as error:  # whatever a database or a tracking service raises, the search must not end for it
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
