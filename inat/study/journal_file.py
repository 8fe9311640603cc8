"""The journal as a file that is only appended to, and when its lines are on the disk."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inat.study.atomic_io import sync_directory

SYNC_SECONDS = 1.0
SYNC_SHARE = 0.01  # of the time that may go into waiting for the disk
URGENT_SHARE = 0.05  # the same for events that should not be lost


class JournalFile:
    """Appends events to a journal.

    Each event is handed to the operating system at once, so it survives the death of this process. A power cut takes
    what is not yet on the disk. Waiting for the disk takes 1 to 10 ms, more than the other bookkeeping of an event, so
    an event waits only if the last wait is SYNC_SECONDS ago, or longer on a slow disk (SYNC_SHARE). An urgent event
    waits unless the waits would take more than URGENT_SHARE of the time.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._synced = 0.0
        self._sync_cost = 0.0
        sync_directory(path.parent)

    def append(self, event: Mapping[str, Any], *, urgent: bool = False) -> None:
        """Write one line."""
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()
        wait = self._sync_cost / URGENT_SHARE if urgent else max(SYNC_SECONDS, self._sync_cost / SYNC_SHARE)
        if time.monotonic() - self._synced > wait:
            self._sync()

    def _sync(self) -> None:
        started = time.monotonic()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
        self._sync_cost = self._synced - started

    def close(self) -> None:
        """Wait until all lines are on the disk, and close the file; does nothing if it is closed."""
        if self._file.closed:
            return
        try:
            self._file.flush()
            self._sync()
        finally:
            self._file.close()
