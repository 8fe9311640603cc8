"""The LightningModule around any network: loss, metrics, optimizer, learning rate schedule, average of the weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from inat.config.optim import ADAMW, MEASURED, MUON, SGD, STEP, OptimConfig
from inat.constants import TRAIN_ACC, TRAIN_LOSS, VAL_LOSS
from inat.data.mixup import BatchMixing
from inat.models.adapters import set_probing
from inat.models.average_statistics import RecentBatches, measure_statistics
from inat.models.muon import Muon, split_groups
from inat.models.overflow import FiniteMean, clip_gradient, scaler_of, statistics_kept
from inat.models.parameter_groups import parameter_groups, spared_by
from inat.models.schedules import two_phase_factor
from inat.models.stages import StagedNetwork
from inat.models.validation_scores import ImageAnswers, ValidationScores
from inat.models.weight_average import WeightAverage

MOMENTUM = 0.9
VAL_SCORES = "val_scores"  # the meter of all validation metrics but the loss


class Classifier(pl.LightningModule):
    """Trains ``net`` (images or features -> logits of ``num_classes``) with cross entropy, as ``optim`` says.

    After every validation, the metrics of the epoch are in ``trainer.callback_metrics``. They count every image once,
    whatever the size of the last batch. ``val_answers`` is what it answered on each image.
    Training loss and accuracy are those of the altered batches: after label smoothing, erasing, mixing and weighting.

    ``class_weights``, one per class, weight the training loss; a mixed label has the weights of its classes. The
    validation loss is not weighted, so that trials with other weights can be compared.

    With ``micro_batch``, each batch goes through the network in parts of at most that many images, whose gradients add
    up to those of the whole batch; only batch norm sees the parts. All stages of ``net`` except "head" learn at
    ``body_lr_factor`` times the learning rate of the head: see ``parameter_groups``. In the first ``probe_epochs`` of
    ``max_epochs``, only the head trains.

    With an ``ema_decay``, ``average`` follows ``net`` during the training. It is what validation sees and what
    ``trained_state`` returns. Its batch norms have the statistics of the last training batches.
    """

    def __init__(
        self,
        net: nn.Module,
        optim: OptimConfig,
        num_classes: int,
        micro_batch: int | None = None,
        body_lr_factor: float = 1.0,
        class_weights: Sequence[float] | None = None,
        probe_epochs: int = 0,
        max_epochs: int = 1,
    ) -> None:
        super().__init__()
        self.net = net
        self.body_lr_factor = body_lr_factor
        self.probe_epochs, self.max_epochs = probe_epochs, max_epochs
        self.micro_batch = micro_batch
        self.automatic_optimization = micro_batch is None
        self.optim, self.num_classes = optim, num_classes
        self.mix_batch = BatchMixing(optim, num_classes)
        self.average: WeightAverage | None = None
        self.recent = RecentBatches()
        # The part of the schedule before a step; None: in proportion to the steps. See inat.training.pace.
        self.share_at: Callable[[int], float] | None = None
        self.val_answers = ImageAnswers()
        self.class_weights: Tensor | None
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)  # part of no checkpoint
        self.meters = nn.ModuleDict({
            # Checks of values would wait for the device at every step, and a NaN loss must stay NaN.
            TRAIN_LOSS: MeanMetric(nan_strategy="disable"),
            TRAIN_ACC: MulticlassAccuracy(num_classes, average="micro", validate_args=False),
            VAL_LOSS: MeanMetric(nan_strategy="disable"),
            VAL_SCORES: ValidationScores(num_classes),
        })  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.net(images)
        return logits

    def configure_model(self) -> None:
        """Create the average of the weights, before Lightning loads a checkpoint that may contain it."""
        if self.optim.ema_decay and self.average is None:
            self.average = WeightAverage(self.net, self.optim.ema_decay)

    def setup(self, stage: str) -> None:
        """In float16, leave batches that overflow out of the training loss: their steps are skipped."""
        if scaler_of(self) is not None:
            self.meters[TRAIN_LOSS] = FiniteMean()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch; with ``micro_batch``, the share of its last part."""
        if self.average is not None and self.optim.ema_statistics == MEASURED:
            self.recent.keep(batch[0], int(self.trainer.num_training_batches) - batch_idx - 1, self.net)
        batch = self.mix_batch(*batch)
        if self.automatic_optimization:
            return self._training_losses(batch).mean()
        return self._step_in_parts(batch)

    def _step_in_parts(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """One optimizer step for the whole batch, and the steps of the schedule that Lightning makes otherwise."""
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, LRScheduler)
        optimizer.zero_grad()
        for part in self._parts(batch):
            loss = self._training_losses(part).sum() / len(batch[1])
            self.manual_backward(loss)
        optimizer.step()
        if self.optim.schedule != STEP or self.trainer.is_last_batch:
            schedule.step()
        return loss

    def _part_count(self, images: int) -> int:
        return math.ceil(images / (self.micro_batch or images))

    def _parts(self, batch: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
        count = self._part_count(len(batch[1]))
        # Parts of equal size: batch norm cannot normalise a last part of a single image.
        return list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update the average of the weights after each optimizer step."""
        if self.average is not None:
            self.average.update_parameters(self.net)

    def on_validation_epoch_start(self) -> None:
        """Give the batch norms of the average of the weights statistics that fit it."""
        batches, norms = self.recent.take()
        if self.average is not None and batches:
            parts = [part for images in batches for part in images.tensor_split(self._part_count(len(images)))]
            with self.trainer.precision_plugin.val_step_context():
                measure_statistics(self.average.module, norms, parts)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add one batch to the validation metrics, computed with the average of the weights if there is one."""
        net = self.net if self.average is None else self.average
        for images, labels in self._parts(batch):
            logits = net(images).float()
            losses = functional.cross_entropy(logits, labels, reduction="none")
            self._update_meters(logits, labels, losses, VAL_LOSS, VAL_SCORES)

    def _training_losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss (N,) of each image, which also goes into the training metrics."""
        images, labels = batch
        found: list[Tensor] = []
        with nullcontext() if scaler_of(self) is None else statistics_kept(self.net, found):
            logits = self(images).float()  # a loss in 16 bit would be off by up to 0.4 %
            smoothing = self.optim.label_smoothing
            losses = functional.cross_entropy(
                logits, labels, weight=self.class_weights, reduction="none", label_smoothing=smoothing
            )
            found.append(losses)
        # The class of a mixed image is that of its larger part.
        self._update_meters(logits, labels if labels.ndim == 1 else labels.argmax(1), losses, TRAIN_LOSS, TRAIN_ACC)
        return losses

    def _update_meters(self, logits: Tensor, labels: Tensor, losses: Tensor, loss_name: str, scores_name: str) -> None:
        # One loss per image: with nan_strategy="disable", torchmetrics 1.9 ignores weights.
        self._meter(loss_name).update(losses.detach())
        scores = self._meter(scores_name)
        scores.update(logits.detach(), labels)
        if isinstance(scores, ValidationScores):
            scores.keep_losses(losses.detach())

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the epoch. Validation follows the last training batch, so all of them are complete."""
        for name in self.meters:
            meter = self._meter(name)
            if meter.update_called:
                # Logged once per epoch: logging at each step takes as long as the step of a small network.
                values = meter.compute()
                self.log_dict(values if isinstance(values, dict) else {name: values})
                if isinstance(meter, ValidationScores):
                    self.val_answers = meter.image_answers()
                meter.reset()

    def _meter(self, name: str) -> Metric:
        meter = self.meters[name]
        assert isinstance(meter, Metric)
        return meter

    def on_train_epoch_start(self) -> None:
        """Let the body rest, or begin to train, as ``probe_epochs`` says; also in a training that goes on."""
        if self.probe_epochs and isinstance(self.net, StagedNetwork):
            set_probing(self.net, self.current_epoch < self.probe_epochs)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient, which is that of a whole step."""
        if self.optim.grad_clip:
            clip_gradient(self.net, self.optim.grad_clip, optimizer, scaler_of(self))

    def configure_optimizers(self) -> Any:
        """The optimizer that ``optim`` names; the learning rate falls in steps of epochs, or along a curve of steps."""
        optim, optimizer = self.optim, self._optimizer()
        if optim.schedule != STEP:
            total = int(self.trainer.estimated_stepping_batches)
            switch = round(total * self.probe_epochs / self.max_epochs) if self.probe_epochs else 0
            curve = LambdaLR(
                optimizer, lambda step: two_phase_factor(self._place_of(step, total), total, switch, optim)
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": curve, "interval": "step"}}
        steps = StepLR(optimizer, optim.lr_step_epochs, optim.lr_gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": steps, "interval": "epoch"}}

    def _place_of(self, step: int, total: int) -> float:
        """The step of the schedule, of ``total``, at this step of the training."""
        return step if self.share_at is None else self.share_at(step) * total

    def _optimizer(self) -> Optimizer:
        optim = self.optim
        groups = parameter_groups(self.net, optim, self.body_lr_factor)
        # On a GPU, optimizers that are not fused launch operations per parameter, and GradScaler waits for them. On a
        # CPU, trainings of earlier versions that clip have the rounding of the unfused ones.
        rate, fused = optim.learning_rate, not optim.grad_clip or self.device.type != "cpu"
        if optim.optimizer == MUON:
            return Muon(split_groups(groups, self.net, spared_by(self.net), rate, self.num_classes), rate)
        if optim.optimizer == SGD:
            return torch.optim.SGD(groups, rate, momentum=MOMENTUM, nesterov=True, fused=fused)
        if optim.optimizer == ADAMW:
            return torch.optim.AdamW(groups, rate, weight_decay=optim.weight_decay, fused=fused)
        kind = torch.optim.AdamW if optim.weight_decay else torch.optim.Adam
        return kind(groups, lr=rate, fused=fused)

    def trained_state(self) -> dict[str, Tensor]:
        """State dict with the trained weights in ``net``: the average of the weights, if there is one."""
        if self.average is None:
            return self.state_dict()
        return {f"net.{key}": tensor for key, tensor in self.average.module.state_dict().items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out the frozen stages, which a training on kept features does not have."""
        checkpoint["state_dict"] = without_frozen_stages(checkpoint["state_dict"], self.net)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the current frozen stages, so that a training can resume on features or on the whole network."""
        own = self.state_dict()
        left_out = own.keys() - without_frozen_stages(own, self.net).keys()
        checkpoint["state_dict"] = {key: own[key] for key in left_out} | checkpoint["state_dict"]


def without_frozen_stages(state: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The state dict of a classifier without the frozen stages of ``net``."""
    stages = [name for name, _ in net.named_children()][: getattr(net, "frozen", 0)]
    frozen = tuple(f"{owner}.{stage}." for owner in ("net", "average.module") for stage in stages)
    return {key: tensor for key, tensor in state.items() if not key.startswith(frozen)}
