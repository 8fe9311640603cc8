"""Which checkpoints a trial writes.

``best.ckpt`` (weights) when a trial beats its own best and the accuracy it needs to be among the study's best k;
``last.ckpt`` (all that resuming needs) at most every few seconds of training, and less often where writing is slow.
"""

import time
from pathlib import Path

import pytorch_lightning as pl
import torch

from inat.checkpoint import portable_checkpoint
from inat.constants import BEST_CKPT, LAST_CKPT
from inat.epochs import recorder_of
from inat.files import replacing

LAST_EVERY_SECONDS = 5.0  # most work of a trial that a crash costs, beyond the epoch in progress
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
            with replacing(self.directory / BEST_CKPT) as partial:
                torch.save(portable_checkpoint(trainer), partial)
        since = time.monotonic() - self._last_written
        if not trainer.should_stop and since > max(LAST_EVERY_SECONDS, self._last_cost / LAST_SHARE):
            started = time.monotonic()
            with replacing(self.directory / LAST_CKPT) as partial:
                trainer.save_checkpoint(partial, weights_only=False)
            self._last_written = time.monotonic()
            self._last_cost = self._last_written - started
