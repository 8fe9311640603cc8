"""End a worker process whose trial makes no progress, so that the trial is tried again from its last checkpoint."""

import faulthandler
from pathlib import Path
from types import TracebackType
from typing import Self

import pytorch_lightning as pl


class Watchdog(pl.Callback):
    """A context manager around a trial: without an epoch for ``seconds``, where it hangs goes to ``path``.

    The process then exits. faulthandler's own thread does it, so that it works while Python is stuck in a library that
    never comes back. ``seconds`` None: it never does.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        self._path = path
        self._seconds = seconds

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
            self._wind_up()
        return self

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._wind_up()

    def _wind_up(self) -> None:
        if self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
            self._file.close()
            self._path.unlink(missing_ok=True)
