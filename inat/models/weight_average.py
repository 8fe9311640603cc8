"""The moving average of a network's weights during a training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]
COUNTER = "n_averaged"


class WeightAverage(AveragedModel):
    """torch's moving average of a network's parameters and buffers; the decay grows to ``decay`` over the steps.

    Its counter of steps is a plain attribute on the CPU, not a buffer: torch reads it at every step, and reading a
    buffer on a GPU would make every step wait for the GPU. State dicts contain it under the name of torch's buffer.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            get_ema_multi_avg_fn(decay_at(int(count), decay))(averaged, current, count)

        super().__init__(net, multi_avg_fn=average, use_buffers=True)
        self.requires_grad_(False)
        del self.n_averaged
        self.n_averaged = torch.tensor(0)
        self.register_state_dict_post_hook(_save_counter)
        self.register_load_state_dict_pre_hook(_load_counter)


def _save_counter(average: WeightAverage, state: dict[str, Any], prefix: str, *_: Any) -> None:
    state[prefix + COUNTER] = average.n_averaged


def _load_counter(
    average: WeightAverage, state: dict[str, Any], prefix: str, metadata: Any, strict: bool, missing: list[str], *_: Any
) -> None:
    if prefix + COUNTER in state:
        average.n_averaged = state.pop(prefix + COUNTER).cpu().clone()
    else:
        missing.append(prefix + COUNTER)


def decay_at(count: int, decay: float) -> float:
    """The decay after ``count`` updates: (1 + count) / (10 + count), at most ``decay``.

    With a constant decay, the random initial weights would dominate the average in the first epochs, in which ASHA
    compares trials. The formula is that of TensorFlow's ExponentialMovingAverage with ``num_updates``.
    """
    return min(decay, (1 + count) / (10 + count))
