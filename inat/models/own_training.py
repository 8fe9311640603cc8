"""Trains a user's LightningModule: its own loss and optimizer, and the metrics of every other training.

The module gets batches (images, labels): normalised float32 images (N, 3, H, W) and int64 labels (N,). Its
``training_step``, ``configure_optimizers`` and hooks of the training run as in a Trainer of its own. Validation is that
of this program, on the logits of its ``forward``: ``validation_step`` and what the module logs are not used.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from inat.config.optim import OptimConfig
from inat.constants import TRAIN_ACC, TRAIN_LOSS, VAL_LOSS
from inat.errors import ConfigError
from inat.models.classifier import VAL_SCORES, Classifier

# Passed on to the module if it overrides them. Those of validation are missing: its validation_step does not run.
HOOKS = (
    "on_fit_start", "on_fit_end", "on_train_start", "on_train_end", "on_train_epoch_start", "on_train_epoch_end",
    "on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step", "optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping",
    "lr_scheduler_step",
)  # fmt: skip
NEEDED = ("forward", "training_step", "configure_optimizers")


def missing_methods(module: pl.LightningModule) -> list[str]:
    """The methods that a LightningModule needs here and does not define."""
    return [name for name in NEEDED if not _overrides(module, name)]


def _overrides(module: pl.LightningModule, name: str) -> bool:
    own = getattr(type(module), name, None)
    return own is not None and own is not getattr(pl.LightningModule, name, None) and own is not nn.Module.forward


class OwnTraining(Classifier):
    """A classifier whose ``net`` is a LightningModule that decides on its loss and its optimizer.

    Of ``optim`` only the batch size counts, and what the module takes as arguments. The training accuracy is that of
    the logits which ``forward`` gave during the training step.
    """

    def __init__(self, net: nn.Module, optim: OptimConfig, num_classes: int, micro_batch: int | None = None) -> None:
        assert isinstance(net, pl.LightningModule)
        if micro_batch is not None:
            raise ConfigError(
                f"batches of {optim.batch_size} images are too large for the memory of this device, and the "
                f"training_step of {type(net).__name__} cannot be given parts of them; choose a smaller batch_size"
            )
        super().__init__(net, optim, num_classes)
        self.num_classes = num_classes
        self._logits: Tensor | None = None
        net.register_forward_hook(self._keep_logits)
        for name in ("log", "log_dict"):
            object.__setattr__(net, name, _ignore)
        for name in HOOKS:
            if _overrides(net, name):
                object.__setattr__(self, name, getattr(net, name))

    @property
    def module(self) -> pl.LightningModule:
        """The user's module."""
        assert isinstance(self.net, pl.LightningModule)
        return self.net

    def configure_model(self) -> None:
        """No average of the weights: ``ema_decay`` is not used."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        """The loss of the module's own step; its value and the accuracy go into the training metrics."""
        self._logits = None
        output = self.module.training_step(batch, batch_idx)
        loss = output["loss"] if isinstance(output, dict) else output
        if not isinstance(loss, Tensor):
            raise ConfigError(
                f"training_step of {type(self.net).__name__} must return the loss as a tensor, or a dict with it under "
                f"'loss', got {type(loss).__name__}"
            )
        images, labels = batch
        losses = loss.detach().float().mean().expand(len(labels))
        self._update_meters(self._logits_of(images), labels, losses, TRAIN_LOSS, TRAIN_ACC)
        return output

    def _logits_of(self, images: Tensor) -> Tensor:
        kept, self._logits = self._logits, None
        if kept is not None and kept.shape == (len(images), self.num_classes):
            return kept.float()
        self.net.eval()  # the training step did not call the module itself: batch norms must not see the images twice
        try:
            with torch.no_grad():
                logits: Tensor = self.net(images)
        finally:
            self.net.train()
            self._logits = None
        return logits.float()

    def _keep_logits(self, module: nn.Module, given: Any, output: Any) -> None:
        if self.training and isinstance(output, Tensor):
            self._logits = output.detach()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one batch to the validation metrics."""
        images, labels = batch
        logits = self.net(images).float()
        losses = functional.cross_entropy(logits, labels, reduction="none")
        self._update_meters(logits, labels, losses, VAL_LOSS, VAL_SCORES)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The module's own hook."""
        if _overrides(self.module, "on_train_batch_end"):
            self.module.on_train_batch_end(outputs, batch, batch_idx)

    def configure_optimizers(self) -> Any:
        """The module's own optimizer and schedule."""
        return self.module.configure_optimizers()


def _ignore(*args: Any, **kwargs: Any) -> None:
    """What a module logs is not used: the metrics of every trial are the same, so that trials can be compared."""
