"""The LightningModule around any network: loss, metrics and optimizer, nothing else."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from inat.config.trial import COSINE, OptimConfig
from inat.constants import TRAIN_ACC, TRAIN_LOSS, VAL_ACC, VAL_LOSS
from inat.data.mixup import BatchMixing
from inat.models.stages import HEAD


class Classifier(pl.LightningModule):
    """Trains ``net`` (images -> logits of ``num_classes``) with cross entropy and Adam, as ``optim`` says.

    After every validation the epoch's four metrics stand in ``trainer.callback_metrics``; each counts images, so a
    small last batch weighs what it should. With ``micro_batch``, a batch goes through the network in parts of at most
    that many images, whose gradients add up to the batch's; only batch norm then sees the parts. All but the stage
    "head" of ``net`` learns ``body_lr_factor`` times as fast as it. ``net`` may begin with features instead of images.

    While it trains with an ``ema_decay``, ``average`` follows ``net``; it is what validation sees and ``trained_state``
    gives. Training loss and accuracy are those of the altered batches: smoothed, erased in, mixed.
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
        self.alter = BatchMixing(optim, num_classes)
        self.average: WeightAverage | None = None
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

    def configure_model(self) -> None:
        """Begin the average of the weights, before a checkpoint that may hold it is loaded."""
        if self.optim.ema_decay and self.average is None:
            self.average = WeightAverage(self.net, self.optim.ema_decay)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch; of its last part if it goes through in parts."""
        batch = self.alter(*batch)
        if self.micro_batch is None:
            return self._training_losses(batch).mean()
        self._optimizer().zero_grad()
        *parts, last = self._parts(batch)
        for part in parts:
            self.trainer.strategy.backward(self._training_losses(part).sum() / len(batch[1]), None)
        return self._training_losses(last).sum() / len(batch[1])

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the average follow the step that was made."""
        if self.average is not None:
            self.average.update_parameters(self.net)

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
        """Accumulate the metrics of one batch, of the average if there is one."""
        net = self.net if self.average is None else self.average
        for images, labels in self._parts(batch):
            logits = net(images).float()
            self._count(logits, labels, functional.cross_entropy(logits, labels, reduction="none"), VAL_LOSS, VAL_ACC)

    def _training_losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        logits = self(images).float()  # a loss in 16 bit would be off by up to 0.4 %
        smoothing = self.optim.label_smoothing
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        # Of a mixed image, its larger part is to be recognised.
        self._count(logits, labels if labels.ndim == 1 else labels.argmax(1), losses, TRAIN_LOSS, TRAIN_ACC)
        return losses

    def _count(self, logits: Tensor, labels: Tensor, losses: Tensor, loss_name: str, accuracy_name: str) -> None:
        # One value an image: with nan_strategy="disable", torchmetrics 1.9 ignores weights.
        self._meter(loss_name).update(losses.detach())
        self._meter(accuracy_name).update(logits.detach(), labels)

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
        """Adam, or AdamW with weight decay; its learning rate falls by steps of epochs, or along a cosine."""
        optim = self.optim
        kind = torch.optim.AdamW if optim.weight_decay else torch.optim.Adam
        optimizer = kind(self._parameter_groups(), lr=optim.learning_rate, fused=True)
        if optim.schedule == COSINE:
            total = int(self.trainer.estimated_stepping_batches)
            warmup = round(optim.warmup_share * total)
            curve = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_factor(step, total, warmup))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": curve, "interval": "step"}}
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, optim.lr_step_epochs, optim.lr_gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        training = [(name, parameter) for name, parameter in self.net.named_parameters() if parameter.requires_grad]
        if self.body_lr_factor == 1:
            return self._by_decay(parameter for _, parameter in training)
        head = self._by_decay(parameter for name, parameter in training if name.startswith(f"{HEAD}."))
        body = self._by_decay(parameter for name, parameter in training if not name.startswith(f"{HEAD}."))
        rate = self.body_lr_factor * self.optim.learning_rate
        return head + [group | {"lr": rate} for group in body]

    def _by_decay(self, parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
        """Groups of parameters: with weight decay those of norms and biases, which have one axis, apart without it."""
        if not self.optim.weight_decay:
            return [{"params": list(parameters)}]
        every = list(parameters)
        decayed = {"params": [p for p in every if p.ndim > 1], "weight_decay": self.optim.weight_decay}
        return [decayed, {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0}]

    def trained_state(self) -> dict[str, Tensor]:
        """The state of a classifier whose network is the trained one: the average of the weights, if there is one."""
        if self.average is None:
            return self.state_dict()
        return {f"net.{key}": tensor for key, tensor in self.average.module.state_dict().items()}

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
    frozen = tuple(f"{place}.{stage}." for place in ("net", "average.module") for stage in stages)
    return {key: tensor for key, tensor in state.items() if not key.startswith(frozen)}


def cosine_factor(step: int, total: int, warmup: int) -> float:
    """What the learning rate is multiplied by at ``step`` (from 0) of ``total``.

    It rises in a straight line to 1 at step ``warmup``, never being 0, and falls along half a cosine to 0 at ``total``,
    which is the step after the last one. Behind ``total`` it stays 0.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if step >= total:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage(AveragedModel):
    """torch's average of a network's parameters and buffers, whose decay grows to ``decay`` with the steps.

    Its counter stays on the CPU: torch reads it at every step, which would make every step wait for a GPU.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            get_ema_multi_avg_fn(decay_at(int(count), decay))(averaged, current, count)

        super().__init__(net, multi_avg_fn=average, use_buffers=True)
        self.requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.module._apply(fn, recurse)
        return self


def decay_at(count: int, decay: float) -> float:
    """The decay after ``count`` updates: (1 + count) / (10 + count), at most ``decay``.

    Otherwise the random weights that a network begins with would weigh on its first epochs, at which ASHA compares.
    """
    return min(decay, (1 + count) / (10 + count))
