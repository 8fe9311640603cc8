"""Values that are made in the background and kept; a page shows the last one until the next one is there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from analysis.wording import sentence_of
from inat.serve.worker import WorkerError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
MOST = 8  # values that are kept; the one that was asked for longest ago goes first


@dataclass(slots=True)
class Entry(Generic[Value]):
    """A value that is kept. ``version`` counts how often it was made, ``made`` is when, in seconds since 1970.

    ``error`` says why the last attempt failed; the value before it stays. ``task`` makes the next value.
    """

    value: Value | None = None
    error: str = ""
    version: int = 0
    made: float = 0.0
    stamp: Hashable = None
    next_time: float = 0.0
    task: asyncio.Task[None] | None = None

    async def first(self, seconds: float) -> None:
        """Wait for the first value, at most ``seconds``."""
        if self.task is not None and self.version == 0:
            await asyncio.wait({self.task}, timeout=seconds)


class Kept(Generic[Key, Value]):
    """Values by key, made by ``make``; all calls come from one event loop.

    A value is made again if it is asked for with another stamp, ``pause`` seconds after the last one at the earliest,
    and later if making it takes long: at most one part in ``share`` + 1 of the time goes into it.
    """

    def __init__(self, make: Callable[[Key], Awaitable[Value]], pause: float, share: float = 4.0) -> None:
        self._make, self._pause, self._share = make, pause, share
        self._entries: dict[Key, Entry[Value]] = {}

    def get(self, key: Key, stamp: Hashable) -> Entry[Value]:
        """What is kept for ``key``; begins to make a new value if the stamp has changed."""
        entry = self._entries.pop(key, None) or Entry[Value]()
        self._entries[key] = entry  # now the last one
        for old in [known for known, other in self._entries.items() if other.task is None][:-MOST]:
            del self._entries[old]
        if entry.stamp != stamp and entry.task is None and time.monotonic() >= entry.next_time:
            entry.task = asyncio.get_running_loop().create_task(self._make_again(key, entry, stamp))
        return entry

    async def _make_again(self, key: Key, entry: Entry[Value], stamp: Hashable) -> None:
        began, at = time.monotonic(), time.time()
        try:
            entry.value, entry.error = await self._make(key), ""
        except Exception as error:
            entry.error = str(error) if isinstance(error, WorkerError) else sentence_of(error)
        entry.version, entry.made, entry.stamp, entry.task = entry.version + 1, at, stamp, None
        entry.next_time = time.monotonic() + max(self._pause, self._share * (time.monotonic() - began))
