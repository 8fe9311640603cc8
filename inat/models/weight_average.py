"""The moving average of a network's weights during a training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

COUNTER = "n_averaged"


class WeightAverage(AveragedModel):
    """torch's moving average of a network's parameters and buffers; the decay grows to ``decay`` over the steps.

    Its counter of steps is a plain attribute on the CPU, not a buffer: the decay depends on it, so reading a buffer on
    a GPU would make every step wait for the GPU. State dicts contain it under the name of torch's buffer.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__(net, use_buffers=True)
        self.requires_grad_(False)
        self.decay = decay
        del self.n_averaged
        self.n_averaged = torch.tensor(0, device="cpu")  # Lightning builds this class under the device of the training
        self.register_state_dict_post_hook(_save_counter)
        self.register_load_state_dict_pre_hook(_load_counter)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights of ``model``; the first time, copy them.

        The result is that of torch's method, which sends the counter to the GPU and reads it there four times a step.
        """
        count = int(self.n_averaged)
        for averaged, current in _pairs_by_type(self.module, model).values():
            if count == 0:
                torch._foreach_copy_(averaged, current)
            else:
                get_ema_multi_avg_fn(decay_at(count, self.decay))(averaged, current, count)
        self.n_averaged += 1


def _pairs_by_type(module: nn.Module, model: nn.Module) -> dict[torch.dtype, tuple[list[Tensor], list[Tensor]]]:
    """The parameters and buffers of both networks, in lists of one type each, as one kernel takes them."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    own, other = ([*part.parameters(), *part.buffers()] for part in (module, model))
    for averaged, current in zip(own, other, strict=True):
        first, second = pairs.setdefault(averaged.dtype, ([], []))
        first.append(averaged)
        second.append(current.to(averaged.device))
    return pairs


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
