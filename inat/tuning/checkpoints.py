"""Which checkpoints a trial writes.

``best.ckpt`` (weights) when a trial beats its own best and the accuracy it needs to be among the study's best k;
``last.ckpt`` (all that resuming needs) at most every few seconds of training, and less often where writing is slow.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch

from inat.checkpoint import portable_checkpoint
from inat.constants import BEST_CKPT, LAST_CKPT
from inat.epochs import recorder_of
from inat.errors import DiskFullError

LAST_EVERY_SECONDS = 5.0  # most work of a trial that a crash costs, beyond the epoch in progress
LEAST_FREE = 1_000_000  # bytes; with less, what failed was the disk
LAST_SHARE = 0.02  # of a trial's time that may go into last.ckpt


class TrialCheckpoints(pl.Callback):
    """Writes a trial's checkpoints into ``directory``; best ones only from ``threshold`` validation accuracy on."""

    def __init__(self, directory: Path, threshold: float | None) -> None:
        self.directory = directory
        self.threshold = threshold
        self._last_written = time.monotonic()
        self._last_cost = 0.0
        directory.mkdir(parents=True, exist_ok=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        recorder = recorder_of(trainer)
        if recorder.improved and (self.threshold is None or recorder.best_val_acc >= self.threshold):
            self._write(BEST_CKPT, lambda path: torch.save(portable_checkpoint(trainer), path))
        since = time.monotonic() - self._last_written
        if not trainer.should_stop and since > max(LAST_EVERY_SECONDS, self._last_cost / LAST_SHARE):
            started = time.monotonic()
            self._write(LAST_CKPT, lambda path: trainer.save_checkpoint(path, weights_only=False))
            self._last_written = time.monotonic()
            self._last_cost = self._last_written - started

    def _write(self, name: str, save: Callable[[Path], None]) -> None:
        # Written beside and renamed: a crash while writing leaves the old checkpoint.
        partial = self.directory / f".{name}"
        try:
            save(partial)
            os.replace(partial, self.directory / name)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeErrors that do not say why
            size = partial.stat().st_size if partial.exists() else 0
            partial.unlink(missing_ok=True)
            if shutil.disk_usage(self.directory).free <= max(size, LEAST_FREE):
                raise DiskFullError(f"the disk of {self.directory} is full") from error
            raise
