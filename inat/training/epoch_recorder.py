"""What is known of a training epoch by epoch, and when it ends."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from inat.config.trial import TrialConfig
from inat.constants import (
    BEST_VAL_ACC,
    DIVERGED,
    EPOCH,
    FINISHED,
    MAX_EPOCHS_REACHED,
    OUT_OF_PATIENCE,
    SECONDS,
    TRAIN_ACC,
    TRAIN_LOSS,
    VAL_ACC,
    VAL_LOSS,
)

LOOK_EVERY = 32  # batches between two looks at whether a training on a GPU has diverged


class EpochRecorder(pl.Callback):
    """Follows a training: the last epoch's metrics in ``row``, the best accuracy so far, and when to end.

    A training ends at its last epoch, after ``patience`` epochs without a better validation accuracy, or as soon as a
    loss is not finite: that epoch is then validated at once. One that trains on the validation photographs knows no
    better epoch: it goes to its last one. The state travels with checkpoints. ``remarks`` are added
    to every row.
    """

    def __init__(self, config: TrialConfig, classes: Sequence[str], remarks: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.classes = classes
        self._remarks = dict(remarks or {})
        self.row: dict[str, Any] = {}
        self.unreported: list[dict[str, Any]] = []  # rows that whoever reports them has not taken yet
        self.best_val_acc = 0.0
        self.best_epoch = 0
        self.epoch = 0
        self._started = time.monotonic()

    @property
    def improved(self) -> bool:
        """Whether the last epoch's weights are the ones to keep: the best so far; without validation, the latest."""
        return self.epoch > 0 and (self.config.data.train_on_val or self.best_epoch == self.epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()
        # Random numbers depend on (seed, epoch) alone: a resumed training repeats what the first one would have done.
        torch.manual_seed(self.config.seed * 1_000_003 + trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss: torch.Tensor = outputs["loss"]
        # Reading the loss makes the host wait for a GPU, so there only now and then.
        if (loss.device.type == "cpu" or batch_idx % LOOK_EVERY == 0) and not math.isfinite(loss):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(trainer.callback_metrics[name]) for name in (TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC)}
        self.epoch = trainer.current_epoch + 1
        if metrics[VAL_ACC] > self.best_val_acc or self.best_epoch == 0:
            self.best_val_acc, self.best_epoch = metrics[VAL_ACC], self.epoch
        self.row = {EPOCH: self.epoch, BEST_VAL_ACC: self.best_val_acc, **metrics}
        self.row |= {SECONDS: time.monotonic() - self._started, **self._remarks}
        if reason := self._reason_to_end(metrics):
            self.row[FINISHED] = reason
            trainer.should_stop = True
        self.unreported.append(self.row)

    def _reason_to_end(self, metrics: Mapping[str, float]) -> str | None:
        if not (math.isfinite(metrics[TRAIN_LOSS]) and math.isfinite(metrics[VAL_LOSS])):
            return DIVERGED
        if self.epoch >= (self.config.stop_epoch or self.config.max_epochs):
            return MAX_EPOCHS_REACHED
        if not self.config.data.train_on_val and self.epoch - self.best_epoch >= self.config.patience:
            return OUT_OF_PATIENCE
        return None

    def state_dict(self) -> dict[str, Any]:
        names = ("row", "unreported", "best_val_acc", "best_epoch", "epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


def recorder_of(trainer: pl.Trainer) -> EpochRecorder:
    """The EpochRecorder of a trainer that ``fit`` made."""
    return next(c for c in trainer.callbacks if isinstance(c, EpochRecorder))  # type: ignore[attr-defined]
