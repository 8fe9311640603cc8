"""Guided back-propagation: the gradient of a neuron with respect to the image, of what raises it alone.

Springenberg et al. 2015 ("Striving for simplicity: the all convolutional net") let a gradient back through a relu where
its input is positive, as every back-propagation does, and only if it is positive itself. In other words, each relu
hands back

    max(gradient, 0) * derivative

and for relu the derivative is 1 or 0. gelu, silu and mish have derivatives between -0.13 and 1.13, below zero only left
of the dip of their curve (-0.75, -1.28, -1.19). Guiding here means

    max(gradient, 0) * max(derivative, 0)

for every activation. It is the paper's rule for relu, bit by bit; a gradient that is handed back never changes its
sign, so that all paths from the neuron down to a first convolution add up evidence for it and none is counted by its
absence; and no threshold is made up: where a unit of a smooth network leaks, as at small negative inputs, it is
looked through as much as it leaks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import NeuronGradient
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from inat.interpret.layers import Layer

# As modules call them, torchvision's relu functions in GoogLeNet and Inception included. Sigmoids are left out: in
# squeeze-and-excitation they are factors, not units that fire.
ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset({
    functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu6,
    functional.hardtanh, functional.hardtanh_, functional.leaky_relu, functional.elu, functional.gelu,
    functional.silu, functional.mish, functional.hardswish,
})  # fmt: skip


class _Guided(torch.autograd.Function):
    """An activation with the backward pass of this module's docstring."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            given = given.detach().requires_grad_()
            output = activation(given.clone())  # a copy, as it may work in place
            (derivative,) = torch.autograd.grad(output.sum(), given)
        ctx.save_for_backward(derivative.clamp_(min=0))
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * factor, None


class GuidedActivations(TorchFunctionMode):
    """Within it, activations guide the gradients that go back through them, be they modules or functions.

    It changes the functions' meaning and nothing of the network, so no hook can stay behind. captum's GuidedBackprop
    sees nn.ReLU modules alone: not relu6, the smooth ones, or the functions that GoogLeNet and Inception call.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func not in ACTIVATIONS:
            return func(*args, **options)
        given, *others = args if args else [options.pop("input")]
        return _Guided.apply(given, lambda values: func(values, *others, **options))


class Neuron(NamedTuple):
    """A unit of a layer: its map and its place there."""

    channel: int
    row: int
    column: int


def random_neurons(shape: Sequence[int], count: int, seed: int) -> list[Neuron]:
    """``count`` different neurons, or all, of maps of ``shape`` (C, H, W), equally likely ones."""
    total = int(np.prod(shape))
    chosen = np.random.default_rng(seed).choice(total, size=min(count, total), replace=False)
    return [Neuron(*map(int, np.unravel_index(index, tuple(shape)))) for index in chosen]


def guided_gradients(net: nn.Module, image: Tensor, layer: Layer, neurons: Sequence[Neuron]) -> Tensor:
    """The guided gradient (len(neurons), 3, S, S) of each neuron of ``layer`` with respect to ``image`` (3, S, S)."""
    rows = torch.arange(len(neurons), device=image.device)
    channels, down, across = (torch.tensor(place, device=image.device) for place in zip(*neurons, strict=True))
    # One copy of the image for each neuron: a network in eval mode keeps them apart.
    copies = image.repeat(len(neurons), 1, 1, 1).requires_grad_()
    with GuidedActivations():
        gradients: Tensor = NeuronGradient(net, layer.module).attribute(
            copies, lambda output: layer.maps(output)[rows, channels, down, across]
        )
    return gradients.detach()
