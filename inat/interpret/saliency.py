"""The picture of one photograph with Grad-CAM for its predicted class and the guided gradients of some neurons."""

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

from inat.interpret.examples import Example, Source, as_input, example
from inat.interpret.images import Floats, around_grey, new_figure, output_folder, save, shortened, show
from inat.interpret.layers import Layer, last_convolution, last_maps, outputs_of
from inat.training.inference import Model

NEURONS = 10
COLUMNS = 4


def draw_saliency(model: Model, source: Source, photo: Path | None) -> None:
    """Write guided-backprop.png: the photograph, Grad-CAM for the predicted class, ten neurons."""
    seen = example(model, source, photo)
    net, image = model.checkpoint.classifier.net, as_input(model, seen)
    layer = last_convolution(net, image.unsqueeze(0))
    with outputs_of({layer.name: layer.module}, lambda output: output.detach().clone()) as outputs:
        net(image.unsqueeze(0))
    maps = layer.maps(outputs[layer.name])[0].cpu()
    neurons = random_neurons(maps.shape, NEURONS, source.seed)
    gradients = guided_gradients(net, image, layer, neurons).permute(0, 2, 3, 1).cpu().numpy()
    confidences = model.confidences(seen.image[None])[0]
    best = int(confidences.argmax())
    heat = grad_cam(net, image, best).cpu().numpy()
    names = [f"map {n.channel} at ({n.row}, {n.column})\nvalue {float(maps[n]):.3g}" for n in neurons]
    said = f"said {shortened(model.classes[best], 18)} {confidences[best]:.0%}"
    of = f"{layer.name}, {len(maps):,} maps of {maps.shape[1]} x {maps.shape[2]}"
    title = f"Guided back-propagation of {len(neurons)} random neurons of {of}"
    cam = f"Grad-CAM for {shortened(model.classes[best], 14)}\n{shortened(last_maps(net, image.unsqueeze(0)).name, 24)}"
    save(
        draw(seen, said, cam, heat, list(zip(names, gradients, strict=True)), title),
        output_folder(source) / "guided-backprop.png",
    )


def draw(
    photo: Example, said: str, cam: str, heat: Floats, neurons: Sequence[tuple[str, Floats]], title: str
) -> Figure:
    """``photo``, ``heat`` (S, S) over it under the title ``cam``, and each neuron's gradient (S, S, 3), 0 in grey."""
    rows = -(-(len(neurons) + 2) // COLUMNS)
    figure = new_figure(2.2 * COLUMNS, 2.55 * rows + 0.5)
    figure.suptitle(title, fontsize=11)
    places = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    show(places[0], photo.image)
    places[0].set_title(f"{f'is {photo.label}' if photo.label else photo.name}\n{said}", fontsize=9)
    show(places[1], photo.image.mean(2), cmap="gray", vmin=0, vmax=255)
    peak = float(heat.max())
    places[1].imshow(heat / (peak or 1), cmap="turbo", vmin=0, vmax=1, alpha=0.5)
    places[1].set_title(cam if peak > 0 else f"{cam}: nothing speaks for it", fontsize=9)
    for axes, (name, gradient) in zip(places[2:], neurons, strict=False):
        show(axes, around_grey(gradient))
        axes.set_title(name if np.any(gradient) else f"{name}, no gradient", fontsize=9)
    for axes in places[2 + len(neurons) :]:
        axes.set_axis_off()
    return figure


def grad_cam(net: nn.Module, image: Tensor, target: int, layer: Layer | None = None) -> Tensor:
    """A map (S, S) from 0 on of how much each place of ``image`` (3, S, S) speaks for the logit of class ``target``.

    Each map of ``layer``, by default ``last_maps``, is weighed with the mean of the logit's gradient over it; of the
    sum what is above zero counts. It is as coarse as these maps, and interpolated to the image's size.
    """
    layer = layer or last_maps(net, image.unsqueeze(0))
    # Frozen stages ask for no gradients unless the image does.
    images = image.unsqueeze(0).clone().requires_grad_()
    if layer.tokens:
        coarse = _of_tokens(net, images, target, layer)
    else:
        coarse = LayerGradCam(net, layer.module).attribute(images, target, relu_attributions=True)
    fine = functional.interpolate(coarse.detach().float(), image.shape[1:], mode="bilinear", align_corners=False)
    return fine[0, 0]


def _of_tokens(net: nn.Module, images: Tensor, target: int, layer: Layer) -> Tensor:
    """The same for a vision transformer, (1, 1, H, W): captum would take tokens for channels."""
    with torch.enable_grad(), outputs_of({layer.name: layer.module}, _itself) as seen:
        score = net(images)[0, target]
        (gradient,) = torch.autograd.grad(score, seen[layer.name])
    maps, gradients = layer.maps(seen[layer.name]), layer.maps(gradient)
    return (gradients.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()


def _itself(output: Tensor) -> Tensor:
    return output


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
