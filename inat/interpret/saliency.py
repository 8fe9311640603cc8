"""What a prediction and neurons depend on: Grad-CAM, integrated gradients, occlusion, guided back-propagation.

Grad-CAM (Selvaraju et al. 2017) shows where the last maps support a class. Integrated gradients (Sundararajan et al.
2017) divide a logit among the pixels. Occlusion (Zeiler and Fergus 2014) covers one square after the other.

Guided back-propagation (Springenberg et al. 2015, "Striving for simplicity: the all convolutional net") shows which
pixels raise a neuron. Plain back-propagation passes a gradient through a relu where its input is positive; the guided
rule also requires the gradient itself to be positive. So each relu passes back

    max(gradient, 0) * derivative

with a derivative of 1 or 0. The derivatives of gelu, silu and mish lie between -0.13 and 1.13, and are negative only
left of the curve's minimum (at -0.75, -1.28, -1.19). Here every activation passes back

    max(gradient, 0) * max(derivative, 0)

For relu this is the paper's rule, bit by bit. A gradient that passes never changes its sign, so the paths from the
neuron to the image add up evidence for the neuron, and none counts because its evidence is absent. No threshold is
needed: a smooth unit passes a gradient in proportion to its slope, also at small negative inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, NeuronGradient, Occlusion
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from inat.interpret.layers import Layer, capture_outputs, grad_cam_layer

STEPS = 32  # of integrated gradients: images between the mean colour and the photo
BATCH = 16  # images at a time
WINDOWS = 6  # squares that occlusion covers side by side; it moves by half a square
# Activations as modules and torchvision's GoogLeNet and Inception call them. Sigmoids are left out: in
# squeeze-and-excitation blocks they are factors, not units that fire.
ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset({
    functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu6,
    functional.hardtanh, functional.hardtanh_, functional.leaky_relu, functional.elu, functional.gelu,
    functional.silu, functional.mish, functional.hardswish,
})  # fmt: skip


def grad_cam(net: nn.Module, image: Tensor, target: int, layer: Layer | None = None) -> Tensor:
    """A non-negative map (S, S): how strongly each place of ``image`` (3, S, S) supports the logit of class ``target``.

    The maps of ``layer``, by default ``grad_cam_layer``, are summed, each weighted by the mean gradient of the logit
    over the map; negative sums become 0. The result is as coarse as these maps and is interpolated to S x S.
    """
    layer = layer or grad_cam_layer(net, image.unsqueeze(0))
    # The image must require a gradient, or frozen stages record none.
    images = image.unsqueeze(0).clone().requires_grad_()
    if layer.tokens:
        coarse = _grad_cam_of_tokens(net, images, target, layer)
    else:
        coarse = LayerGradCam(net, layer.module).attribute(images, target, relu_attributions=True)
    fine = functional.interpolate(coarse.detach().float(), image.shape[1:], mode="bilinear", align_corners=False)
    return fine[0, 0]


def _grad_cam_of_tokens(net: nn.Module, images: Tensor, target: int, layer: Layer) -> Tensor:
    """Grad-CAM (1, 1, H, W) of a vision transformer, whose tokens captum would read as channels."""
    with torch.enable_grad(), capture_outputs({layer.name: layer.module}, _identity) as outputs:
        score = net(images)[0, target]
        (gradient,) = torch.autograd.grad(score, outputs[layer.name])
    maps, gradients = layer.maps(outputs[layer.name]), layer.maps(gradient)
    return (gradients.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()


def _identity(output: Tensor) -> Tensor:
    return output


def integrated_gradients(net: nn.Module, image: Tensor, target: int) -> Tensor:
    """How much each pixel of ``image`` (3, S, S) adds to the logit of class ``target``: a map (S, S).

    The map sums to the logit minus the logit of an image of the mean colour, apart from the error of ``STEPS`` steps.
    """
    parts = IntegratedGradients(net).attribute(
        image.unsqueeze(0), baselines=0, target=target, n_steps=STEPS, internal_batch_size=BATCH
    )
    sums: Tensor = parts.detach().float()[0].sum(0)
    return sums


def occlusion(net: nn.Module, image: Tensor, target: int) -> Tensor:
    """How much the confidence in class ``target`` falls if a square of ``image`` (3, S, S) is covered: a map (S, S).

    Squares of S / 6 px get the mean colour, one after the other. A pixel has the mean over the squares that cover it.
    """
    side = max(1, image.shape[-1] // WINDOWS)
    step = max(1, side // 2)
    falls = Occlusion(lambda images: net(images).softmax(1)).attribute(
        image.unsqueeze(0), sliding_window_shapes=(3, side, side), strides=(3, step, step), baselines=0, target=target,
        perturbations_per_eval=BATCH,
    )  # fmt: skip
    first: Tensor = falls.detach().float()[0, 0]  # the channels are equal, as a square covers all of them
    return first


class Neuron(NamedTuple):
    """One unit of a layer: the map and the position in it."""

    channel: int
    row: int
    column: int


def random_neurons(shape: Sequence[int], count: int, seed: int) -> list[Neuron]:
    """``count`` different neurons, or all if there are fewer, drawn uniformly from maps of ``shape`` (C, H, W)."""
    total = int(np.prod(shape))
    chosen = np.random.default_rng(seed).choice(total, size=min(count, total), replace=False)
    return [Neuron(*map(int, np.unravel_index(index, tuple(shape)))) for index in chosen]


def active_neurons(maps: Tensor, count: int) -> list[Neuron]:
    """At most ``count`` neurons of ``maps`` (C, H, W) with the largest values, in their order.

    They are of ``count`` different maps, or all would be neighbours in the same one; with fewer maps, of as many as
    there are.
    """
    each = min(-(-count // len(maps)), maps[0].numel())
    peaks = maps.flatten(1).topk(each)
    best = peaks.values.flatten().topk(min(count, peaks.values.numel())).indices.tolist()
    width = maps.shape[2]
    return [Neuron(place // each, *divmod(int(peaks.indices.flatten()[place]), width)) for place in best]


def guided_gradients(net: nn.Module, image: Tensor, layer: Layer, neurons: Sequence[Neuron]) -> Tensor:
    """Guided gradients (len(neurons), 3, S, S) of neurons of ``layer`` with respect to ``image`` (3, S, S)."""
    rows = torch.arange(len(neurons), device=image.device)
    channels, down, across = (torch.tensor(place, device=image.device) for place in zip(*neurons, strict=True))
    # One copy of the image per neuron, in one batch: in eval mode the images of a batch do not affect each other.
    copies = image.repeat(len(neurons), 1, 1, 1).requires_grad_()
    with GuidedActivations():
        gradients: Tensor = NeuronGradient(net, layer.module).attribute(
            copies, lambda output: layer.maps(output)[rows, channels, down, across]
        )
    return gradients.detach()


class GuidedActivations(TorchFunctionMode):
    """Within the block, every activation uses the guided backward pass, whether called as a module or a function.

    The mode intercepts the functions and leaves the network unchanged, so no hook can stay behind. captum's
    GuidedBackprop handles nn.ReLU modules only: not relu6, smooth activations, or the functions that GoogLeNet and
    Inception call.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func not in ACTIVATIONS:
            return func(*args, **options)
        given, *others = args if args else [options.pop("input")]
        return _Guided.apply(given, lambda values: func(values, *others, **options))


class _Guided(torch.autograd.Function):
    """An activation with the guided backward pass; see the module's docstring."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            given = given.detach().requires_grad_()
            output = activation(given.clone())  # a copy, because the activation may work in place
            (derivative,) = torch.autograd.grad(output.sum(), given)
        ctx.save_for_backward(derivative.clamp_(min=0))
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * factor, None
