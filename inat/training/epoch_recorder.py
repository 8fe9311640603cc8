"""Record the metrics of each epoch of a training, and decide when the training ends."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from inat.config.backbones import ONLY_UNFREEZE_ALL
from inat.config.objective import ACCURACY
from inat.config.optim import AUTO, AVERAGED, NO_WEIGHTS
from inat.config.trial import PUBLISHED, TrialConfig
from inat.constants import (
    BEST_VAL_ACC,
    BILINEAR,
    DIVERGED,
    EPOCH,
    FINISHED,
    MAX_EPOCHS_REACHED,
    NOTE,
    OUT_OF_PATIENCE,
    OUT_OF_TIME,
    SECONDS,
    SQUASH,
    TRAIN_ACC,
    TRAIN_LOSS,
    VAL_ACC,
    VAL_BALANCED_ACC,
    VAL_LOSS,
    VAL_MACRO_F1,
    VAL_TOP2_ACC,
)
from inat.models.overflow import scaler_of
from inat.study.folds import as_trial_row, kept_row
from inat.training.loss_check import LossCheck
from inat.training.pace import Pace

METRICS = (TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC, VAL_BALANCED_ACC, VAL_MACRO_F1, VAL_TOP2_ACC)

STATE_NAMES = ("row", "history", "unreported", "best_value", "best_epoch", "epoch", "saved_epoch")
SHARE = "schedule_share"  # in the state of a recorder: the part of the schedule that its epochs have used, with a pace
IDENTITY = "identity"  # in the state of a recorder: the settings that identify its training
# Settings that may change while a training is interrupted: places of files, and ways to compute the same result.
NOT_IDENTITY = frozenset({
    "data", "labels", "root", "cache_dir", "max_bad_fraction", "weights_dir", "views", "max_feature_gb", "max_cache_gb",
    "compile", "grad_checkpointing", "test_time_flip",
})  # fmt: skip
# Left out of the identity at these values: checkpoints of earlier versions do not have these settings.
EARLIER_VALUES = {
    "metric": ACCURACY.name, "class_weights": NO_WEIGHTS, "balanced_sampler": False, "folds": 0, "fold": 0, "repeat": 0,
    "test_fraction": 0.2, "group_by": "", "keep_duplicates": True, "resize": SQUASH, "resize_size": 0,
    "interpolation": BILINEAR, "feature_rules": 1, "augmentation_policy": PUBLISHED,
    "optimizer": AUTO, "layer_decay": 1.0, "grad_clip": 0.0, "accumulate": 1, "drop_path": None,
    "ema_statistics": AVERAGED, "body_lr_rule": ONLY_UNFREEZE_ALL, "probe_share": 0.25, "lora_rank": 8,
    "decay_share": 0.4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the ``count`` trainings of its trial a training is, from 1 on, and the rows of those ``before`` it."""

    number: int
    count: int
    before: tuple[dict[str, Any], ...] = ()


class EpochRecorder(pl.Callback):
    """Records the metrics of the last epoch in ``row`` and the best value of the objective, and ends the training.

    A training ends at its last epoch, after ``patience`` epochs without a better value of the objective, or as soon as
    a loss is not finite; that epoch is then validated at once. In float16, where single batches may overflow, only an
    epoch without any finite loss, or whose validation loss is not finite, ends the training. If it trains on the
    validation images, their metrics say nothing, so it runs to its last epoch. Checkpoints contain the state of the
    recorder, with the rows of all epochs (``history``) and the settings that a training must share to go on from the
    checkpoint. ``constant_columns`` are added to every row. With a ``place``, the training is one of several of its
    trial: ``row`` and ``history`` are then those of the trial (``inat.study.folds``), everything else is about this
    training. With a ``pace``, it ends when its time is over.
    """

    def __init__(
        self,
        config: TrialConfig,
        classes: Sequence[str],
        constant_columns: Mapping[str, Any] | None = None,
        place: Place | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.config = config
        self.classes = classes
        self._constant_columns = dict(constant_columns or {})
        self.row: dict[str, Any] = {}
        self.place, self.pace = place, pace
        self.history: list[dict[str, Any]] = list(place.before) if place else []
        self.unreported: list[dict[str, Any]] = []  # rows that no callback has reported yet
        self.best_value = config.objective.worst
        self.best_epoch = 0
        self.epoch = 0
        self.saved_epoch = self.kept_epoch  # whose weights the best.ckpt beside the checkpoint holds; 0 without one
        self._started = time.monotonic()
        self._loss_check = LossCheck()

    @property
    def improved(self) -> bool:
        """Whether to keep the weights of the last epoch: if it is the best one, or validation images are trained on."""
        if self.place is not None:
            return self.epoch > 0 and self._kept_row() is self.row
        return self.epoch > 0 and (self.config.data.train_on_val or self.best_epoch == self.epoch)

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept: the last one for which ``improved`` was true."""
        if self.place is not None:
            return int(self._kept_row()[EPOCH]) if self.history else 0
        return self.epoch if self.config.data.train_on_val else self.best_epoch

    @property
    def kept_value(self) -> float:
        """The best value, in the column of the objective, in the row of ``kept_epoch``."""
        objective = self.config.objective
        if self.place is not None:
            return float(self._kept_row()[objective.best_column]) if self.history else objective.worst
        return self.best_value

    def _kept_row(self) -> Mapping[str, Any]:
        return kept_row(self.history, self.config.objective)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if note := getattr(getattr(trainer, "datamodule", None), "note", ""):
            columns = self._constant_columns
            columns[NOTE] = "; ".join(filter(None, (columns.get(NOTE), note)))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()
        # Random numbers depend only on (seed, epoch), so a resumed training repeats the uninterrupted one.
        torch.manual_seed(self.config.seed * 1_000_003 + trainer.current_epoch)
        if self.pace is not None:
            self.pace.begin_epoch(trainer.current_epoch, trainer.global_step, int(trainer.num_training_batches))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # In float16, single batches may overflow: their steps are skipped. See FiniteMean.
        if scaler_of(pl_module) is None and not self._loss_check.is_finite(outputs["loss"], batch_idx):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(trainer.callback_metrics[name]) for name in METRICS}
        objective = self.config.objective
        self.epoch = trainer.current_epoch + 1
        if objective.better(metrics[objective.column], self.best_value) or self.best_epoch == 0:
            self.best_value, self.best_epoch = metrics[objective.column], self.epoch
        self.row = {EPOCH: self.epoch, objective.best_column: self.best_value, **metrics}
        self.row |= {SECONDS: time.monotonic() - self._started, **self._constant_columns}
        reason = self._reason_to_end(metrics)
        if self.place is not None:
            place, ends, column = self.place, reason is not None, objective.best_column
            self.row = as_trial_row(self.row, place.number, place.before, ends, column)
        if reason is not None:
            if self.place is None or self.place.number == self.place.count or reason == DIVERGED:
                self.row[FINISHED] = reason
            trainer.should_stop = True
        self.history.append(self.row)
        self.unreported.append(self.row)

    def _reason_to_end(self, metrics: Mapping[str, float]) -> str | None:
        if not (math.isfinite(metrics[TRAIN_LOSS]) and math.isfinite(metrics[VAL_LOSS])):
            return DIVERGED
        over = self.pace is not None and self.pace.end_epoch(self.epoch)
        if self.epoch >= (self.config.stop_epoch or self.config.max_epochs):
            return MAX_EPOCHS_REACHED
        if over:
            return OUT_OF_TIME
        # The first epoch of the whole network may be worse than the last one of its head.
        since = max(self.best_epoch, self.config.probe_epochs)
        if not self.config.data.train_on_val and self.epoch - since >= self.config.patience:
            return OUT_OF_PATIENCE
        return None

    def state_dict(self) -> dict[str, Any]:
        paced = {} if self.pace is None else {SHARE: self.pace.share}
        return {name: getattr(self, name) for name in STATE_NAMES} | {IDENTITY: identity_of(self.config)} | paced

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Checkpoints of earlier versions have neither the rows that were reported, nor "saved_epoch"; the best value is
        # that of the accuracy, under its own name.
        earlier = {"history": state_dict["unreported"], "saved_epoch": 0, "best_value": state_dict.get(BEST_VAL_ACC)}
        state = earlier | state_dict
        for name in STATE_NAMES:
            setattr(self, name, state[name])
        if self.pace is not None:
            self.pace.share = state.get(SHARE, self.epoch / self.config.max_epochs)  # earlier versions had no pace
        if self.epoch < (self.config.stop_epoch or self.config.max_epochs):  # it was the end with fewer epochs
            self.row, self.history, self.unreported = (
                _not_ended(self.row), list(map(_not_ended, self.history)), list(map(_not_ended, self.unreported)),
            )  # fmt: skip


def _not_ended(row: dict[str, Any]) -> dict[str, Any]:
    ended = row.get(FINISHED) == MAX_EPOCHS_REACHED
    return {name: value for name, value in row.items() if name != FINISHED} if ended else row


def identity_of(config: TrialConfig) -> dict[str, Any]:
    """The settings that a training must have in common with a checkpoint that it goes on from.


    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 1,
    ... }
    >>> identity_of(TrialConfig.from_params(params))["learning_rate"]
    0.01
    """
    return {
        name: value
        for name, value in config.to_params().items()
        if name not in NOT_IDENTITY and not (name in EARLIER_VALUES and value == EARLIER_VALUES[name])
    }


def is_identity_of(identity: Mapping[str, Any], config: TrialConfig) -> bool:
    """Whether a training of ``config`` may go on from a checkpoint with this ``identity``.

    The number of epochs may differ if the epochs so far are the same for every number.

    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64,
    ... }
    >>> short, longer = (TrialConfig.from_params({**params, "max_epochs": epochs}) for epochs in (9, 27))
    >>> is_identity_of(identity_of(short), longer)
    True
    >>> cosine = TrialConfig.from_params({**params, "max_epochs": 27, "schedule": "cosine"})
    >>> is_identity_of(identity_of(short), cosine)
    False
    """
    left_out = "max_epochs" if config.can_train_longer else ""
    first, second = ({n: v for n, v in one.items() if n != left_out} for one in (identity, identity_of(config)))
    return first == second


def recorder_of(trainer: pl.Trainer) -> EpochRecorder:
    """The EpochRecorder of a trainer that ``fit`` has made; for use in callbacks.

    >>> class PrintAccuracy(pl.Callback):
    ...     def on_train_epoch_end(self, trainer, pl_module):
    ...         recorder = recorder_of(trainer)
    ...         print(f"epoch {recorder.epoch}: better than chance: {recorder.row['val_acc'] > 0.1}")
    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 16, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 1,
    ... }
    >>> from inat.training.fit import fit
    >>> metrics = fit(TrialConfig.from_params(params), [PrintAccuracy()])
    epoch 1: better than chance: True
    """
    return next(c for c in trainer.callbacks if isinstance(c, EpochRecorder))  # type: ignore[attr-defined]
