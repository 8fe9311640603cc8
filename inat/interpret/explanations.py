"""Draw what the prediction for one photo depends on, and what the neurons of a layer respond to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from analysis.escaping import printable
from inat.interpret.examples import Example, InterpretOptions, load_example, network_input
from inat.interpret.images import (
    Floats,
    Picture,
    center_on_grey,
    new_figure,
    output_folder,
    save,
    shorten,
    shorten_start,
    show,
    write_title,
)
from inat.interpret.layers import Layer, activated_layer, capture_outputs, guided_backprop_layer, named_layer
from inat.interpret.saliency import (
    Neuron,
    active_neurons,
    grad_cam,
    guided_gradients,
    integrated_gradients,
    occlusion,
    random_neurons,
)
from inat.training.inference import Model

NEURONS = 10
COLUMNS = 2  # of each of the two blocks of neurons
SIDE = 2.4  # inches of an image
MAX_BYTES = 1_500_000


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted class of a photo, its confidence, and what supports it.

    The three maps (S, S) are Grad-CAM (not negative) at ``cam_layer``, integrated gradients, and occlusion.
    """

    name: str
    confidence: float
    cam_layer: str
    cam: Floats
    pixels: Floats
    covered: Floats


@dataclass(frozen=True, slots=True)
class Responses:
    """What raises some neurons of a layer: ``title`` of the block, and one title and gradient (S, S, 3) per neuron."""

    title: str
    neurons: Sequence[tuple[str, Floats]]


def draw_saliency(model: Model, options: InterpretOptions, photo: Path | None, layer: str | None = None) -> Picture:
    """Write guided-backprop.png: the photo, what its prediction depends on, and guided gradients of neurons.

    The neurons, 10 most active and 10 random ones, are those of ``layer``, by default the last convolution. Raises
    DataError if the image cannot be read or the file cannot be written, ConfigError if the network has no convolution,
    or no layer of this name.
    """
    example = load_example(model, options, photo)
    net, image = model.checkpoint.classifier.net, network_input(model, example)
    images = image.unsqueeze(0)
    chosen = named_layer(net, images, layer) if layer else guided_backprop_layer(net, images)
    prediction = explain(model, example, chosen)
    blocks, shape = respond(model, example, chosen, options.seed)
    titles = (
        f"Why is {shorten(prediction.name, 40)} predicted?",
        f"What neurons of the layer {shorten_start(chosen.name, 40)} ({shape}) respond to in this photo",
    )
    alt = (
        f"The photo {printable(example.name)}, where Grad-CAM, integrated gradients and occlusion see the reasons for "
        f"its prediction, and what raises active and random neurons of the layer {chosen.name}."
    )
    path = save(draw(example, prediction, blocks, titles), output_folder(options) / "guided-backprop.png", MAX_BYTES)
    return Picture(path, " ".join(titles), alt)


def explain(model: Model, example: Example, layer: Layer) -> Prediction:
    """The prediction for ``example``, and the maps that explain it; Grad-CAM weighs the activated maps of ``layer``."""
    net, image = model.checkpoint.classifier.net, network_input(model, example)
    confidences = model.confidences(example.image[None])[0]
    best = int(confidences.argmax())
    cam_layer = activated_layer(net, image.unsqueeze(0), layer)
    cam = grad_cam(net, image, best, cam_layer)
    maps = (cam, integrated_gradients(net, image, best), occlusion(net, image, best))
    return Prediction(model.classes[best], float(confidences[best]), cam_layer.name, *(m.cpu().numpy() for m in maps))


def respond(model: Model, example: Example, layer: Layer, seed: int) -> tuple[list[Responses], str]:
    """Guided gradients of the most active and of random neurons of ``layer``, and the shape of its maps in words."""
    net, image = model.checkpoint.classifier.net, network_input(model, example)
    with (
        torch.no_grad(),
        capture_outputs({layer.name: layer.module}, lambda output: output.detach().clone()) as outputs,
    ):
        net(image.unsqueeze(0))
    maps = layer.maps(outputs[layer.name])[0].float().cpu()
    active, chance = active_neurons(maps, NEURONS), random_neurons(maps.shape, NEURONS, seed)
    blocks = [
        Responses(f"The {len(active)} most active neurons", _gradients(model, image, layer, active, maps)),
        Responses(f"{len(chance)} random neurons", _gradients(model, image, layer, chance, maps)),
    ]
    return blocks, f"{len(maps):,} maps of {maps.shape[1]} x {maps.shape[2]} neurons"


def _gradients(
    model: Model, image: torch.Tensor, layer: Layer, neurons: Sequence[Neuron], maps: torch.Tensor
) -> list[tuple[str, Floats]]:
    gradients = guided_gradients(model.checkpoint.classifier.net, image, layer, neurons)
    titles = [f"map {n.channel}, row {n.row}, column {n.column}\noutput {float(maps[n]):.3g}" for n in neurons]
    return list(zip(titles, gradients.permute(0, 2, 3, 1).cpu().numpy(), strict=True))


def draw(example: Example, prediction: Prediction, blocks: Sequence[Responses], titles: tuple[str, str]) -> Figure:
    """The figure: photo and three explanations in a line, and below it the blocks of neurons beside each other.

    ``titles`` are those of the two parts.
    """
    rows = max(-(-len(block.neurons) // COLUMNS) for block in blocks)
    columns = COLUMNS * len(blocks)
    heights = SIDE + 0.95, (SIDE + 0.42) * rows + 0.75
    figure = new_figure(SIDE * columns, sum(heights))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, title in zip((above, below), titles, strict=True):
        part.suptitle(printable(title), fontsize=12, parse_math=False)
    _draw_prediction(above.subplots(1, 4), example, prediction)
    places = below.subfigures(1, len(blocks), squeeze=False)[0]
    for place, block in zip(places, blocks, strict=True):
        _draw_block(place, block, rows)
    return figure


def _draw_prediction(places: Sequence[Axes], example: Example, prediction: Prediction) -> None:
    photo, cam, pixels, covered = places
    name = shorten(prediction.name, 22)
    show(photo, example.shown)
    lines = [
        shorten_start(printable(example.name), 32),
        *([f"true: {shorten(example.label, 22)}"] * bool(example.label)),
    ]
    _label(photo, "\n".join([*lines, f"predicted: {name} {prediction.confidence:.0%}"]))
    show(cam, example.shown.mean(2), cmap="gray", vmin=0, vmax=255)
    height, width = example.shown.shape[:2]
    peak = float(prediction.cam.max())
    cam.imshow(prediction.cam / (peak or 1), cmap="turbo", vmin=0, vmax=1, alpha=0.5,
               extent=(-0.5, width - 0.5, height - 0.5, -0.5))  # fmt: skip
    meaning = "areas that support it: red" if peak > 0 else "no area supports it"
    _label(cam, f"Grad-CAM, {meaning}\nlayer {shorten_start(prediction.cam_layer, 24)}")
    _signed(pixels, prediction.pixels)
    _label(pixels, "Integrated gradients, pixels\nfor it: red, against it: blue")
    _signed(covered, prediction.covered)
    points = 100 * max(0.0, float(prediction.covered.max()))
    _label(covered, f"Occlusion: covering red lowers\nconfidence by up to {points:.1f} points")


def _signed(axes: Axes, values: Floats) -> None:
    limit = float(np.quantile(np.abs(values), 0.995)) or float(np.abs(values).max()) or 1.0
    show(axes, values, cmap="RdBu_r", vmin=-limit, vmax=limit)


def _draw_block(place: SubFigure | Any, block: Responses, rows: int) -> None:
    place.suptitle(block.title, fontsize=11)
    axes = place.subplots(rows, COLUMNS, squeeze=False).flatten()
    for one, (name, gradient) in zip(axes, block.neurons, strict=False):
        show(one, center_on_grey(gradient))
        _label(one, name if np.any(gradient) else f"{name}, no gradient")
    for one in axes[len(block.neurons) :]:
        one.set_axis_off()


def _label(axes: Axes, text: str) -> None:
    write_title(axes, text, fontsize=9)
