"""Draw the kernels of convolution layers, and their feature maps for one image."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from analysis.escaping import printable
from inat.interpret.examples import Example, InterpretOptions, load_example, network_input
from inat.interpret.images import (
    Floats,
    Picture,
    mosaic,
    new_figure,
    output_folder,
    save,
    shorten,
    shorten_start,
    show,
    stretch_cells,
    write_title,
)
from inat.interpret.layers import capture_outputs, check_layers, convolutions
from inat.training.inference import Model

FILTERS_DIR = "filters"
GRID_SIDE = 8
MAX_MAPS = GRID_SIDE * GRID_SIDE


def draw_filters(
    model: Model, options: InterpretOptions, photo: Path | None, wanted: Sequence[str], limit: int | None = None
) -> list[Picture]:
    """Write the feature maps and kernels of the convolution layers ``wanted``, by default of all, as PNG files.

    Of more than ``limit`` layers that nobody named, as many are drawn, evenly from the first to the last one.
    The file names start with the number of the layer in order of execution. Raises ConfigError, which lists the layers,
    if a name is unknown; DataError if the image cannot be read or a file cannot be written.
    """
    example = load_example(model, options, photo)
    net, images = model.checkpoint.classifier.net, network_input(model, example).unsqueeze(0)
    layers = convolutions(net, images)
    check_layers(wanted, layers)
    folder = output_folder(options, FILTERS_DIR)
    maps = feature_maps(net, images, {name: layers[name] for name in wanted or spread(list(layers), limit)})
    numbers = {name: number for number, name in enumerate(layers, start=1)}
    console, drawn = Console(stderr=True), list[Picture]()
    for name in track(maps, "drawing", console=console, transient=True, disable=not console.is_terminal):
        stem = f"{numbers[name]:0{len(str(len(layers)))}}-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}"
        path = save(draw_maps(maps[name], name, example), folder / f"{stem}-maps.png")
        alt = f"The photo {printable(example.name)} and what the maps of the layer {name} make of it."
        drawn.append(Picture(path, f"Layer {name}: feature maps", alt))
        path = save(draw_kernels(layers[name].weight.detach().float().cpu(), name), folder / f"{stem}-kernels.png")
        alt = f"The weights of the layer {name}, one small image per kernel."
        drawn.append(Picture(path, f"Layer {name}: kernels", alt))
    return drawn


def spread(names: Sequence[str], limit: int | None) -> list[str]:
    """At most ``limit`` of ``names``, evenly from the first to the last one.

    >>> spread(["conv1", "conv2", "conv3", "conv4", "conv5"], 3)
    ['conv1', 'conv3', 'conv5']
    """
    if limit is None or len(names) <= limit:
        return list(names)
    return [names[int(place)] for place in np.linspace(0, len(names) - 1, limit).round()]


def feature_maps(net: nn.Module, images: Tensor, layers: dict[str, nn.Conv2d]) -> dict[str, Floats]:
    """The output (C, H, W) of each layer for the first of ``images`` (N, 3, S, S), before norm and activation."""
    with torch.no_grad(), capture_outputs(layers, _copy_first) as outputs:
        net(images)
    return {name: output[0].numpy() for name, output in outputs.items()}


def _copy_first(output: Tensor) -> Tensor:
    return output[:1].detach().float().cpu().clone()  # a copy, because VGG's activations work in place


def strongest_kernels(weight: Tensor) -> Floats:
    """For each filter of ``weight`` (F, C, h, w) its kernel (h, w) with the largest norm over the input channels."""
    channel = weight.flatten(2).norm(dim=2).argmax(1)
    kernels: Floats = weight[torch.arange(len(weight)), channel].numpy()
    return kernels


def draw_maps(maps: Floats, name: str, example: Example) -> Figure:
    """The image, and beside it the first 64 of ``maps`` (C, H, W) in a grid, each scaled to its own range."""
    image = mosaic(stretch_cells(maps[:MAX_MAPS]), GRID_SIDE)
    figure = _figure_for(image, 7.4, beside=1.9)
    left, right = figure.subplots(1, 2, width_ratios=[1, 4])
    show(left, example.shown)
    left.set_anchor("N")
    label = [f"true: {shorten(example.label, 22)}"] if example.label else []
    write_title(left, "\n".join([shorten_start(printable(example.name), 26), *label]), fontsize=9)
    height, width = maps.shape[1:]
    show(right, image, cmap="viridis", vmin=0, vmax=1)
    title = f"Layer {name}: {_first(len(maps), 'feature map')} of {height} x {width}, before norm and activation"
    write_title(right, f"{title}\neach scaled from its minimum (dark) to its maximum (bright)", fontsize=10)
    _without_frame(right)
    return figure


def draw_kernels(weight: Tensor, name: str) -> Figure:
    """The first 64 filters of ``weight`` (F, C, h, w) in a grid.

    With 3 input channels the kernels are drawn in colour, otherwise the kernel of the input channel with the largest
    norm. Kernels of 1 x 1 are single numbers: all of them are drawn, one row per filter.
    """
    filters, channels, height, width = weight.shape
    size, name = f"{height} x {width}", f"Layer {name}"
    if channels == 3:
        return _colour_kernels(
            weight, f"{name}: {_first(filters, 'kernel')} of {size}, in colour\neach scaled from black to white"
        )
    if height == width == 1:
        return _weights(weight, f"{name}: {_first(filters, 'filter')} of {size}\none weight per input channel")
    of = (
        "each filter has one input channel"
        if channels == 1
        else f"for each filter, its strongest of {channels:,} input channels"
    )
    return _scaled_kernels(strongest_kernels(weight[:MAX_MAPS]), f"{name}: {_first(filters, 'kernel')} of {size}\n{of}")


def _colour_kernels(weight: Tensor, title: str) -> Figure:
    image = mosaic(stretch_cells(weight[:MAX_MAPS].permute(0, 2, 3, 1).numpy()), GRID_SIDE)
    figure = _figure_for(image, 6.4)
    axes = figure.subplots()
    show(axes, image, interpolation="nearest")
    write_title(axes, title, fontsize=10)
    _without_frame(axes)
    return figure


def _scaled_kernels(kernels: Floats, title: str) -> Figure:
    return _diverging(mosaic(kernels, GRID_SIDE), title, "equal")


def _weights(weight: Tensor, title: str) -> Figure:
    figure = _diverging(weight[:MAX_MAPS, :, 0, 0].numpy(), title, "auto")
    axes = figure.axes[0]
    axes.set(xlabel=f"input channel (of {weight.shape[1]:,})", ylabel="filter")
    return figure


def _diverging(image: Floats, title: str, aspect: str) -> Figure:
    figure = _figure_for(image, 6.4, beside=0.9) if aspect == "equal" else new_figure(7.2, 6.9)
    axes = figure.subplots()
    values = np.abs(image[np.isfinite(image)])
    limit = float(np.quantile(values, 0.995)) or float(values.max()) or 1.0
    drawn = show(axes, image, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect=aspect)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6, extend="both")
    bar.set_label("weight", fontsize=9)
    write_title(axes, title, fontsize=10)
    _without_frame(axes)
    return figure


def _figure_for(image: Floats, width: float, beside: float = 0) -> Figure:
    """A figure for ``image`` at ``width`` inches, with space for a title and ``beside`` more inches at its side."""
    return new_figure(width + beside, width * image.shape[0] / image.shape[1] + 0.6)


def _without_frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)


def _first(count: int, what: str) -> str:
    return f"{count} {what}s" if count <= MAX_MAPS else f"the first {MAX_MAPS} of {count:,} {what}s"
