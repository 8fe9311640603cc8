"""Lightning callbacks of a trial that runs under Tune."""

import faulthandler
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import pytorch_lightning as pl
import torch
from ray import tune

from inat.constants import BEST_CKPT, EPOCH, EPOCHS_BEFORE, FINISHED, LAST_CKPT
from inat.study.atomic_io import atomic_replace, atomic_write
from inat.training.checkpoint import portable_checkpoint
from inat.training.epoch_recorder import recorder_of

REPORT_EVERY_SECONDS = 1.0


class ReportToTune(pl.Callback):
    """Reports the epochs' rows. Tune's answer to stop the trial is a SystemExit raised inside the report.

    A report makes the trial wait for the driver, so epochs that take less than a second are reported together: when a
    second is over, where ASHA decides (``rungs``, in epochs), and at the end.
    """

    def __init__(self, rungs: Collection[int] = ()) -> None:
        self._rungs = rungs
        self._reported = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The attempt that wrote the checkpoint may have died before it could report these epochs.
        if recorder_of(trainer).unreported:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = recorder_of(trainer).row
        late = time.monotonic() - self._reported >= REPORT_EVERY_SECONDS
        if late or row[EPOCH] in self._rungs or FINISHED in row:
            self._report(trainer)

    def _report(self, trainer: pl.Trainer) -> None:
        *before, last = recorder_of(trainer).unreported
        self._reported = time.monotonic()
        recorder_of(trainer).unreported = []
        # Saying done with the last epoch spares Tune a round trip a trial.
        tune.report(last | {EPOCHS_BEFORE: before, "done": FINISHED in last})


LAST_EVERY_SECONDS = 1.0  # most work of a trial that a crash costs, beyond the epoch in progress
LAST_SHARE = 0.02  # of a trial's time that may go into last.ckpt

ATTEMPT = ".attempt"  # the attempt that writes now


class TrialCheckpoints(pl.Callback):
    """Writes a trial's checkpoints into ``directory``; best ones only from ``threshold`` validation accuracy on.

    An attempt on a machine that was cut off goes on while another one has taken its place: each leaves its name in
    ``directory``, and one that finds another's there ends, instead of putting old checkpoints in the place of new ones.
    """

    def __init__(self, directory: Path, threshold: float | None) -> None:
        self.directory = directory
        self.threshold = threshold
        self._last_written = time.monotonic()
        self._last_cost = 0.0
        self._attempt = uuid4().hex
        directory.mkdir(parents=True, exist_ok=True)
        for left_over in directory.glob(".*.ckpt*"):
            left_over.unlink(missing_ok=True)
        atomic_write(directory / ATTEMPT, self._attempt, sync=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        recorder = recorder_of(trainer)
        if recorder.improved and (self.threshold is None or recorder.best_val_acc >= self.threshold):
            with self._replacing(BEST_CKPT) as partial:
                torch.save(portable_checkpoint(trainer), partial)
        since = time.monotonic() - self._last_written
        if not trainer.should_stop and since > max(LAST_EVERY_SECONDS, self._last_cost / LAST_SHARE):
            started = time.monotonic()
            with self._replacing(LAST_CKPT) as partial:
                trainer.save_checkpoint(partial, weights_only=False)
            self._last_written = time.monotonic()
            self._last_cost = self._last_written - started

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        self._end_if_replaced()
        with atomic_replace(self.directory / name, suffix=self._attempt) as partial:
            yield partial
            self._end_if_replaced()

    def _end_if_replaced(self) -> None:
        # No file: the trial has ended, and its checkpoints were cleared.
        current = None
        with suppress(FileNotFoundError):
            current = (self.directory / ATTEMPT).read_text()
        if current != self._attempt:
            raise SystemExit("another attempt has taken this trial over")


class Watchdog(pl.Callback):
    """Context manager around a trial: after ``seconds`` without progress, writes the stack to ``path`` and exits.

    Progress is an epoch, or any other call of ``heartbeat``, which also touches ``path`` for the driver's hang monitor.
    faulthandler's own thread ends the process, so that it works while Python is stuck in a library that never returns.
    ``seconds`` None: the process is never ended.
    """

    def __init__(self, path: Path, seconds: float | None) -> None:
        self._path = path
        self._seconds = seconds

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w")
            self.heartbeat()
        return self

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.heartbeat()

    def heartbeat(self) -> None:
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
