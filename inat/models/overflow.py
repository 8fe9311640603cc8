"""What float16 needs beside scaled losses: a batch whose activations overflow leaves no trace but a skipped step.

The largest float16 is 65,504. torch's GradScaler skips the step of a batch whose gradients overflow, so weights stay
finite. The statistics of batch norms and the mean of the losses would not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from inat.models.norms import BATCH_NORMS


def scaler_of(module: pl.LightningModule) -> torch.amp.GradScaler | None:
    """What scales the losses of a training in float16; None in other arithmetic, and without a trainer."""
    trainer = getattr(module, "_trainer", None)  # the property raises without one
    scaler: torch.amp.GradScaler | None = getattr(getattr(trainer, "precision_plugin", None), "scaler", None)
    return scaler


class FiniteMean(MeanMetric):
    """The mean of the losses of all batches whose losses are finite; NaN if there is none."""

    def update(self, value: Tensor) -> None:  # type: ignore[override]
        """Add the losses (N,) of a batch."""
        finite = value.isfinite().all()
        self.mean_value += torch.where(finite, value.sum(), 0.0)
        self.weight += finite * value.numel()


@contextmanager
def statistics_kept(net: nn.Module, losses: list[Tensor]) -> Iterator[None]:
    """Undo the change of all running statistics in this context, unless the one tensor in ``losses`` is finite then.

    >>> norm, losses = nn.BatchNorm1d(1), []
    >>> with statistics_kept(norm, losses):
    ...     losses.append(norm(torch.tensor([[1.0], [float("inf")]])).sum())
    >>> norm.running_mean
    tensor([0.])
    """
    norms = [norm for norm in net.modules() if isinstance(norm, BATCH_NORMS) and norm.training]
    statistics = [s for norm in norms for s in (norm.running_mean, norm.running_var) if s is not None]
    before = [tensor.clone() for tensor in statistics]
    yield
    finite = losses[0].isfinite().all()
    for tensor, kept in zip(statistics, before, strict=True):
        # By ``data``: the backward pass of a batch norm in training does not read them, but would refuse the change.
        tensor.data.copy_(torch.where(finite, tensor, kept))


def clip_gradient(net: nn.Module, most: float, optimizer: Optimizer, scaler: torch.amp.GradScaler | None) -> None:
    """Clip the gradient of ``net`` to a norm of ``most``, without waiting for a GPU.

    A fused optimizer undoes the scaling of ``scaler`` itself, so here its gradients are still scaled.
    """
    if scaler is None or not getattr(optimizer, "_step_supports_amp_scaling", False):
        nn.utils.clip_grad_norm_(net.parameters(), most)
        return
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    nn.utils.clip_grads_with_norm_(net.parameters(), most, norm / scaler.scale(torch.ones_like(norm)))
