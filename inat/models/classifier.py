"""The LightningModule around any network: loss, metrics and optimizer, nothing else."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from inat.config import OptimConfig
from inat.constants import TRAIN_ACC, TRAIN_LOSS, VAL_ACC, VAL_LOSS


class Classifier(pl.LightningModule):
    """Trains ``net`` (images -> logits of ``num_classes``) with cross entropy, Adam and a step schedule.

    After every validation the epoch's four metrics stand in ``trainer.callback_metrics``; each counts images, so a
    small last batch weighs what it should.
    """

    def __init__(self, net: nn.Module, optim: OptimConfig, num_classes: int) -> None:
        super().__init__()
        self.net = net
        self.optim = optim
        self.meters = nn.ModuleDict({
            # Checks of values would wait for the device at every step, and a NaN loss must stay one.
            TRAIN_LOSS: MeanMetric(nan_strategy="disable"),
            TRAIN_ACC: MulticlassAccuracy(num_classes, average="micro", validate_args=False),
            VAL_LOSS: MeanMetric(nan_strategy="disable"),
            VAL_ACC: MulticlassAccuracy(num_classes, average="micro", validate_args=False),
        })  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch."""
        return self._step(batch, TRAIN_LOSS, TRAIN_ACC)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accumulate the metrics of one batch."""
        self._step(batch, VAL_LOSS, VAL_ACC)

    def _step(self, batch: tuple[Tensor, Tensor], loss_name: str, accuracy_name: str) -> Tensor:
        images, labels = batch
        logits = self(images).float()  # a loss in 16 bit would be off by up to 0.4 %
        losses = functional.cross_entropy(logits, labels, reduction="none")
        # One value an image: with nan_strategy="disable", torchmetrics 1.9 ignores weights.
        self._meter(loss_name).update(losses.detach())
        self._meter(accuracy_name).update(logits.detach(), labels)
        return losses.mean()

    def on_validation_epoch_end(self) -> None:
        """Publish the epoch: validation comes after its last training batch, so all four metrics are complete."""
        for name in self.meters:
            meter = self._meter(name)
            if meter.update_called:
                # One log an epoch: on every step it costs as much as a small network's step.
                self.log(name, meter.compute())
                meter.reset()

    def _meter(self, name: str) -> Metric:
        meter = self.meters[name]
        assert isinstance(meter, Metric)
        return meter

    def configure_optimizers(self) -> Any:
        """Adam; the learning rate is multiplied by ``lr_gamma`` every ``lr_step_epochs`` epochs."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.optim.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, self.optim.lr_step_epochs, self.optim.lr_gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
