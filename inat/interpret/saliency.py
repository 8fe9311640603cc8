"""Draw what an image's prediction and its neurons depend on: Grad-CAM and guided back-propagation in one figure.

Grad-CAM (Selvaraju et al. 2017) shows where the last maps support a class.

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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import LayerGradCam, NeuronGradient
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from inat.interpret.examples import Example, InterpretOptions, load_example, network_input
from inat.interpret.images import Floats, center_on_grey, new_figure, output_folder, save, shorten, show
from inat.interpret.layers import Layer, capture_outputs, grad_cam_layer, guided_backprop_layer
from inat.training.inference import Model

NEURONS = 10
COLUMNS = 4
# Activations as modules and torchvision's GoogLeNet and Inception call them. Sigmoids are left out: in
# squeeze-and-excitation blocks they are factors, not units that fire.
ACTIVATIONS: frozenset[Callable[..., Any]] = frozenset({
    functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, functional.relu6,
    functional.hardtanh, functional.hardtanh_, functional.leaky_relu, functional.elu, functional.gelu,
    functional.silu, functional.mish, functional.hardswish,
})  # fmt: skip


def draw_saliency(model: Model, options: InterpretOptions, photo: Path | None) -> None:
    """Write guided-backprop.png: the image, Grad-CAM of the predicted class, guided gradients of 10 random neurons.

    Raises DataError if the image cannot be read or the file cannot be written, ConfigError if the network has no
    convolution.
    """
    example = load_example(model, options, photo)
    net, image = model.checkpoint.classifier.net, network_input(model, example)
    layer = guided_backprop_layer(net, image.unsqueeze(0))
    with capture_outputs({layer.name: layer.module}, lambda output: output.detach().clone()) as outputs:
        net(image.unsqueeze(0))
    maps = layer.maps(outputs[layer.name])[0].cpu()
    neurons = random_neurons(maps.shape, NEURONS, options.seed)
    gradients = guided_gradients(net, image, layer, neurons).permute(0, 2, 3, 1).cpu().numpy()
    confidences = model.confidences(example.image[None])[0]
    best = int(confidences.argmax())
    heat = grad_cam(net, image, best).cpu().numpy()
    names = [f"map {n.channel} at ({n.row}, {n.column})\nvalue {float(maps[n]):.3g}" for n in neurons]
    prediction = f"pred: {shorten(model.classes[best], 18)} {confidences[best]:.0%}"
    of = f"{layer.name}, {len(maps):,} maps of {maps.shape[1]} x {maps.shape[2]}"
    title = f"Guided back-propagation of {len(neurons)} random neurons of {of}"
    cam_layer = grad_cam_layer(net, image.unsqueeze(0))
    cam_title = f"Grad-CAM for {shorten(model.classes[best], 14)}\n{shorten(cam_layer.name, 24)}"
    save(
        draw(example, prediction, cam_title, heat, list(zip(names, gradients, strict=True)), title),
        output_folder(options) / "guided-backprop.png",
    )


def draw(
    example: Example,
    prediction: str,
    cam_title: str,
    heat: Floats,
    neurons: Sequence[tuple[str, Floats]],
    title: str,
) -> Figure:
    """The figure: the image, ``heat`` (S, S) over it, and one title and gradient (S, S, 3) per neuron, 0 in grey."""
    rows = -(-(len(neurons) + 2) // COLUMNS)
    figure = new_figure(2.2 * COLUMNS, 2.55 * rows + 0.5)
    figure.suptitle(title, fontsize=11)
    places = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    show(places[0], example.image)
    label = f"true: {example.label}" if example.label else example.name
    places[0].set_title(f"{label}\n{prediction}", fontsize=9)
    show(places[1], example.image.mean(2), cmap="gray", vmin=0, vmax=255)
    peak = float(heat.max())
    places[1].imshow(heat / (peak or 1), cmap="turbo", vmin=0, vmax=1, alpha=0.5)
    places[1].set_title(cam_title if peak > 0 else f"{cam_title}: no support anywhere", fontsize=9)
    for axes, (name, gradient) in zip(places[2:], neurons, strict=False):
        show(axes, center_on_grey(gradient))
        axes.set_title(name if np.any(gradient) else f"{name}, no gradient", fontsize=9)
    for axes in places[2 + len(neurons) :]:
        axes.set_axis_off()
    return figure


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
