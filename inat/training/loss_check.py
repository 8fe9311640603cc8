"""Notice in the middle of an epoch that a training has diverged, without making the host wait for a GPU."""

import math

import torch
from torch import Tensor

EVERY = 32  # batches between two checks, except on a CPU


class LossCheck:
    """Checks the loss of each batch on a CPU, else of one batch in EVERY.

    A loss on a CUDA GPU arrives in the host's memory while the training goes on, and is looked at when the next one is
    sent. Until it has arrived, the memory holds the one before.
    """

    def __init__(self) -> None:
        self._arrived: Tensor | None = None

    def is_finite(self, loss: Tensor, batch_idx: int) -> bool:
        """Whether ``loss``, or on a GPU the one that was sent before, is finite; True for batches without a check.

        >>> LossCheck().is_finite(torch.tensor(float("nan")), batch_idx=1)
        False
        """
        if loss.device.type != "cpu" and batch_idx % EVERY:
            return True
        if loss.device.type != "cuda":
            return math.isfinite(loss)
        if self._arrived is None:
            self._arrived = torch.zeros((), pin_memory=True)
        finite = math.isfinite(self._arrived)
        self._arrived.copy_(loss.detach(), non_blocking=True)
        return finite
