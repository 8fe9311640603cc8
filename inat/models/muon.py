"""Muon: steps along the momentum of a weight matrix made orthogonal, and AdamW for all other parameters.

The optimizer of https://kellerjordan.github.io/posts/muon/. All singular values of a step are about 1, so that rare
directions of the gradient move the weights as far as frequent ones. The step is scaled to the size of an AdamW step
(https://arxiv.org/abs/2502.16982), so a learning rate suits matrices of all shapes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

MOMENTUM = 0.9
# Each triple makes the singular values of a matrix more equal; three bring those from 0.01 to 1 to between 0.38 and
# 1.25. They are the first three of https://leloykun.github.io/ponder/muon-opt-coeffs.
COEFFICIENTS = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037))
STEP_SIZE = 0.2  # root mean square of the values of an AdamW step, about
# Other parameters learn at this share of the learning rate of matrices.
OTHERS_RATE = 0.1
OTHERS_BETAS = (0.9, 0.95)
ORTHOGONAL = "orthogonal"  # in a group of parameters
TINY = 1e-7


class Muon(AdamW):
    """Muon for the groups whose ORTHOGONAL is true, AdamW for the others."""

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float) -> None:
        # Fused, so that GradScaler does not wait for a GPU to learn whether gradients have overflowed.
        super().__init__(groups, lr, betas=OTHERS_BETAS, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all groups; ``closure`` computes the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        every = self.param_groups
        for group in every:
            if group[ORTHOGONAL]:
                self._step_matrices(group)
        self.param_groups = [group for group in every if not group[ORTHOGONAL]]
        try:
            super().step()
        finally:
            self.param_groups = every
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros(())  # AdamW reads it in every state that it loads
                state["momentum"] = torch.zeros_like(weight)
            gradient, factor = self._unscaled(weight.grad, state["momentum"])
            momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            direction = orthogonal(gradient.lerp(momentum, MOMENTUM))  # Nesterov's look ahead
            rate = group["lr"] * factor
            weight.mul_(1 - rate * group["weight_decay"])
            weight.sub_(direction.mul_(rate * STEP_SIZE * max(weight.shape[0], weight[0].numel()) ** 0.5))

    def _unscaled(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Any]:
        """The gradient without the scaling of float16, and a factor on the step: 0 after an overflow."""
        overflow, scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        if scale is not None:
            gradient = gradient / scale
        if overflow is None:
            return gradient, 1.0
        return torch.where(overflow > 0, momentum, gradient), 1 - overflow


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix of the shape of ``matrix`` (out, in, ...), with its singular vectors and singular values of about 1.

    A Newton-Schulz iteration in bfloat16, which suffices. The kernels of a convolution are the columns of one matrix.
    """
    last = matrix.movedim(1, -1)  # no copy of weights with channels last; the order of the columns does not matter
    flow = last.reshape(len(matrix), -1).to(torch.bfloat16)
    wide = flow.shape[0] <= flow.shape[1]
    flow = flow if wide else flow.mT
    flow = flow / flow.norm().clamp(min=TINY)
    for a, b, c in COEFFICIENTS:
        squares = flow @ flow.mT
        flow = torch.addmm(flow, torch.addmm(squares, squares, squares, beta=b, alpha=c), flow, beta=a)
    flow = flow if wide else flow.mT
    return flow.to(matrix.dtype).reshape(last.shape).movedim(-1, 1)


def split_groups(
    groups: Sequence[dict[str, Any]], net: nn.Module, spared: Callable[[str], bool], lr: float
) -> list[dict[str, Any]]:
    """The ``groups`` of an optimizer for Muon: in each one, the weight matrices of hidden layers apart from the others.

    The first layer, the last one and depthwise convolutions are no such matrices, nor are parameters with one axis and
    those called ``spared(name)``. ``lr`` is the learning rate of groups that have none.
    """
    matrices = {id(parameter) for name, parameter in _hidden(net) if not spared(name)}
    split: list[dict[str, Any]] = []
    for group in groups:
        hidden = [parameter for parameter in group["params"] if id(parameter) in matrices]
        others = [parameter for parameter in group["params"] if id(parameter) not in matrices]
        rate = group.get("lr", lr)
        split.append(group | {"params": hidden, ORTHOGONAL: True, "lr": rate})
        split.append(group | {"params": others, ORTHOGONAL: False, "lr": OTHERS_RATE * rate, "weight_decay": 0.0})
    return [group for group in split if group["params"]]


def _hidden(net: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters with several axes, without those of images, of the last layer, and of one channel."""
    weights = [(name, parameter) for name, parameter in net.named_parameters() if parameter.ndim > 1]
    return [(name, weight) for name, weight in weights[:-1] if weight.shape[1] > 1 and not _sees_images(weight)]


def _sees_images(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.shape[1] == 3
