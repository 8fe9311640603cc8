"""Which checkpoints a trial writes.

``best.ckpt`` (weights) when a trial beats its own best and the accuracy it needs to be among the study's best k;
``last.ckpt`` (all that resuming needs) at most every few seconds of training, and less often where writing is slow.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytorch_lightning as pl
import torch

from inat.checkpoint import portable_checkpoint
from inat.constants import BEST_CKPT, LAST_CKPT
from inat.epochs import recorder_of
from inat.files import atomic_write, replacing

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
        with replacing(self.directory / name, mark=self._attempt) as partial:
            yield partial
            self._end_if_replaced()

    def _end_if_replaced(self) -> None:
        # No file: the trial has ended, and its checkpoints were cleared.
        current = None
        with suppress(FileNotFoundError):
            current = (self.directory / ATTEMPT).read_text()
        if current != self._attempt:
            raise SystemExit("another attempt has taken this trial over")
