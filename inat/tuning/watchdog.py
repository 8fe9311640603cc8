"""End a worker process whose trial makes no progress, so that the trial is tried again from its last checkpoint."""

import faulthandler
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import pytorch_lightning as pl


class Watchdog(pl.Callback):
    """A context manager around a trial: without progress for ``seconds``, where it hangs goes to ``path``.

    Progress is an epoch, and whatever else calls ``wind_up``; it also touches ``path``, for those who watch the process
    from outside. Without it the process exits. faulthandler's own thread does it, so that it works while Python is
    stuck in a library that never comes back. ``seconds`` None: it never does.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        self._path = path
        self._seconds = seconds

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
            self.wind_up()
        return self

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.wind_up()

    def wind_up(self) -> None:
        """Start the time anew."""
        if self._seconds is not None:
            os.utime(self._file.fileno())
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            self._path.unlink(missing_ok=True)
