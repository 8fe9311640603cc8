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

from inat.device import fastest_type

MOMENTUM = 0.9
# Each triple makes the singular values of a matrix more equal; three bring those from 0.01 to 1 to between 0.38 and
# 1.25. They are the first three of https://leloykun.github.io/ponder/muon-opt-coeffs.
COEFFICIENTS = ((4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037))
STEP_SIZE = 0.2  # root mean square of the values of an AdamW step, about
# Other parameters learn at this share of the learning rate of matrices.
OTHERS_RATE = 0.1
OTHERS_BETAS = (0.9, 0.95)
ORTHOGONAL = "orthogonal"  # in a group of parameters
# Layers that multiply by their weights; embeddings, positions and the like are tables.
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)
TINY = 1e-7


class Muon(AdamW):
    """Muon for the groups whose ORTHOGONAL is true, AdamW for the others."""

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float) -> None:
        # Fused, so that GradScaler does not wait for a GPU to learn whether gradients have overflowed.
        super().__init__(groups, lr, betas=OTHERS_BETAS, weight_decay=0.0, fused=True)
        self.multiplied_as = fastest_type()

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
            direction = orthogonal(gradient.lerp(momentum, MOMENTUM), self.multiplied_as)  # Nesterov's look ahead
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


def orthogonal(matrix: Tensor, multiplied_as: torch.dtype = torch.bfloat16) -> Tensor:
    """A matrix of the shape of ``matrix`` (out, in, ...), with its singular vectors and singular values of about 1.

    A Newton-Schulz iteration, for which bfloat16 and float16 suffice. The kernels of a convolution are the columns of
    one matrix.
    """
    last = matrix.movedim(1, -1)  # no copy of weights with channels last; the order of the columns does not matter
    flow = last.reshape(len(matrix), -1)
    # Before the change of type: float16 has no numbers as small as those of gradients.
    flow = (flow / flow.norm().clamp(min=TINY)).to(multiplied_as)
    wide = flow.shape[0] <= flow.shape[1]
    flow = flow if wide else flow.mT
    for a, b, c in COEFFICIENTS:
        squares = flow @ flow.mT
        flow = torch.addmm(flow, torch.addmm(squares, squares, squares, beta=b, alpha=c), flow, beta=a)
    flow = flow if wide else flow.mT
    return flow.to(matrix.dtype).reshape(last.shape).movedim(-1, 1)


def split_groups(
    groups: Sequence[dict[str, Any]], net: nn.Module, spared: Callable[[str], bool], lr: float, num_classes: int
) -> list[dict[str, Any]]:
    """The ``groups`` of an optimizer for Muon: in each one, the weight matrices of hidden layers apart from the others.

    Matrices are the weights of dense layers, convolutions and attention; not those of the first convolution, of layers
    with ``num_classes`` outputs and of depthwise convolutions, nor those called ``spared(name)``. ``lr`` is the
    learning rate of groups that have none.
    """
    matrices = {id(weight) for name, weight in _hidden(net, num_classes) if not spared(name)}
    split: list[dict[str, Any]] = []
    for group in groups:
        hidden = [parameter for parameter in group["params"] if id(parameter) in matrices]
        others = [parameter for parameter in group["params"] if id(parameter) not in matrices]
        rate = group.get("lr", lr)
        split.append(group | {"params": hidden, ORTHOGONAL: True, "lr": rate})
        split.append(group | {"params": others, ORTHOGONAL: False, "lr": OTHERS_RATE * rate, "weight_decay": 0.0})
    return [group for group in split if group["params"]]


def _hidden(net: nn.Module, num_classes: int) -> list[tuple[str, nn.Parameter]]:
    """The weights of layers, without those of images, of one channel, and of the layer that returns the logits."""
    weights = [
        (f"{layer}.{name}" if layer else name, weight)
        for layer, module in net.named_modules() if isinstance(module, LAYERS)
        for name, weight in module.named_parameters(recurse=False) if weight.ndim > 1
    ]  # fmt: skip
    outputs = {name for name, weight in weights if _has_outputs(weight, num_classes)}
    outputs = outputs or {name for name, _ in weights[-1:]}  # a network may make the logits of its classes otherwise
    return [(name, w) for name, w in weights if name not in outputs and w.shape[1] > 1 and not _sees_images(w)]


def _has_outputs(weight: Tensor, number: int) -> bool:
    return len(weight) == number and weight[0].numel() == weight.shape[1]  # of a dense layer or a convolution 1x1


def _sees_images(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.shape[1] == 3
