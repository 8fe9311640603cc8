"""The exponential moving average of a network's weights, which is what is validated and kept."""

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
