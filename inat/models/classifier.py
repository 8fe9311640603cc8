"""The LightningModule around any network: loss, metrics and optimizer, nothing else."""

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from inat.config import OptimConfig
from inat.constants import TRAIN_ACC, TRAIN_LOSS, VAL_ACC, VAL_LOSS
from inat.models.stages import HEAD


class Classifier(pl.LightningModule):
    """Trains ``net`` (images -> logits of ``num_classes``) with cross entropy, Adam and a step schedule.

    After every validation the epoch's four metrics stand in ``trainer.callback_metrics``; each counts images, so a
    small last batch weighs what it should. With ``micro_batch``, a batch goes through the network in parts of at most
    that many images, whose gradients add up to the batch's; only batch norm then sees the parts. All but the stage
    "head" of ``net`` learns ``body_lr_factor`` times as fast as it. ``net`` may begin with features instead of images.
    """

    def __init__(
        self,
        net: nn.Module,
        optim: OptimConfig,
        num_classes: int,
        micro_batch: int | None = None,
        body_lr_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.net = net
        self.body_lr_factor = body_lr_factor
        self.micro_batch = micro_batch
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
        """Loss of one batch; of its last part if it goes through in parts."""
        if self.micro_batch is None:
            return self._losses(batch, TRAIN_LOSS, TRAIN_ACC).mean()
        self._optimizer().zero_grad()
        *parts, last = self._parts(batch)
        for part in parts:
            self.trainer.strategy.backward(self._losses(part, TRAIN_LOSS, TRAIN_ACC).sum() / len(batch[1]), None)
        return self._losses(last, TRAIN_LOSS, TRAIN_ACC).sum() / len(batch[1])

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Lightning calls this between training_step and the backward pass, where parts have left gradients."""
        if self.micro_batch is None:
            optimizer.zero_grad()

    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def _parts(self, batch: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
        count = math.ceil(len(batch[1]) / (self.micro_batch or len(batch[1])))
        # Equal ones: for batch norm, a last part of a single image would be none at all.
        return list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accumulate the metrics of one batch."""
        for part in self._parts(batch):
            self._losses(part, VAL_LOSS, VAL_ACC)

    def _losses(self, batch: tuple[Tensor, Tensor], loss_name: str, accuracy_name: str) -> Tensor:
        images, labels = batch
        logits = self(images).float()  # a loss in 16 bit would be off by up to 0.4 %
        losses = functional.cross_entropy(logits, labels, reduction="none")
        # One value an image: with nan_strategy="disable", torchmetrics 1.9 ignores weights.
        self._meter(loss_name).update(losses.detach())
        self._meter(accuracy_name).update(logits.detach(), labels)
        return losses

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
        optimizer = torch.optim.Adam(self._parameter_groups(), lr=self.optim.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, self.optim.lr_step_epochs, self.optim.lr_gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        training = [(name, parameter) for name, parameter in self.net.named_parameters() if parameter.requires_grad]
        if self.body_lr_factor == 1:
            return [{"params": [parameter for _, parameter in training]}]
        head = [parameter for name, parameter in training if name.startswith(f"{HEAD}.")]
        body = [parameter for name, parameter in training if not name.startswith(f"{HEAD}.")]
        return [{"params": head}, {"params": body, "lr": self.body_lr_factor * self.optim.learning_rate}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out the frozen stages, which a training on kept features does not have."""
        checkpoint["state_dict"] = without_frozen(checkpoint["state_dict"], self.net)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the frozen stages as they are, so that a training goes on with features or with the whole network."""
        own = self.state_dict()
        left_out = own.keys() - without_frozen(own, self.net).keys()
        checkpoint["state_dict"] = {key: own[key] for key in left_out} | checkpoint["state_dict"]


def without_frozen(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """A classifier's state without the stages of ``net`` that do not train."""
    stages = [name for name, _ in net.named_children()][: getattr(net, "frozen", 0)]
    return {key: tensor for key, tensor in state.items() if not key.startswith(tuple(f"net.{s}." for s in stages))}
