"""What the convolution layers look for (kernels) and what they find in one photograph (feature maps)."""

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

from inat.errors import ConfigError
from inat.interpret.examples import Example, Source, as_input, example
from inat.interpret.images import Floats, mosaic, new_figure, output_folder, save, shortened, show, stretched
from inat.interpret.layers import convolutions, outputs_of
from inat.training.inference import Model

FILTERS_DIR = "filters"
SIDE = 8
MOST = SIDE * SIDE


def draw_filters(model: Model, source: Source, photo: Path | None, wanted: Sequence[str]) -> None:
    """Write feature maps and kernels of the convolution layers ``wanted``, or all, numbered in their order.

    ConfigError, with the names there are, for a layer that is not there.
    """
    seen = example(model, source, photo)
    net, images = model.checkpoint.classifier.net, as_input(model, seen).unsqueeze(0)
    layers = convolutions(net, images)
    if unknown := [name for name in wanted if name not in layers]:
        raise ConfigError(f"no convolution layer is called {unknown[0]!r}; choose from {', '.join(layers)}")
    folder = output_folder(source, FILTERS_DIR)
    maps = feature_maps(net, images, {name: layers[name] for name in wanted or layers})
    numbers = {name: number for number, name in enumerate(layers, start=1)}
    console = Console(stderr=True)
    for name in track(maps, "drawing", console=console, transient=True, disable=not console.is_terminal):
        stem = f"{numbers[name]:0{len(str(len(layers)))}}-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}"
        save(draw_maps(maps[name], name, seen), folder / f"{stem}-maps.png")
        save(draw_kernels(layers[name].weight.detach().float().cpu(), name), folder / f"{stem}-kernels.png")


def feature_maps(net: nn.Module, images: Tensor, layers: dict[str, nn.Conv2d]) -> dict[str, Floats]:
    """The outputs (C, H, W) of convolutions for the first of ``images``, before norm and activation."""
    with torch.no_grad(), outputs_of(layers, _copied) as seen:
        net(images)
    return {name: output[0].numpy() for name, output in seen.items()}


def _copied(output: Tensor) -> Tensor:
    return output[:1].detach().float().cpu().clone()  # VGG's activations overwrite what they are given


def strongest_kernels(weight: Tensor) -> Floats:
    """Of each filter of ``weight`` (F, C, h, w) the kernel (F, h, w) of the input channel that it weighs most."""
    channel = weight.flatten(2).norm(dim=2).argmax(1)
    kernels: Floats = weight[torch.arange(len(weight)), channel].numpy()
    return kernels


def draw_maps(maps: Floats, name: str, photo: Example) -> Figure:
    """The photograph, and beside it up to 64 maps in a grid, each from its least to its greatest value."""
    image = mosaic(stretched(maps[:MOST]), SIDE)
    figure = _figure_for(image, 7.4, beside=1.9)
    left, right = figure.subplots(1, 2, width_ratios=[1, 4])
    show(left, photo.image)
    left.set_anchor("N")
    left.set_title("\n".join([shortened(photo.name, 24), *([f"is {photo.label}"] if photo.label else [])]), fontsize=9)
    height, width = maps.shape[1:]
    show(right, image, cmap="viridis", vmin=0, vmax=1)
    right.set_title(
        f"{name}: {_first(len(maps), 'feature map')}, {height} x {width}, before norm and activation\n"
        "each from its least value (dark) to its greatest (bright)", fontsize=10,
    )  # fmt: skip
    _without_frame(right)
    return figure


def draw_kernels(weight: Tensor, name: str) -> Figure:
    """Up to 64 kernels in a grid: in colour if they see the image's colours, else those of the heaviest input channel.

    Kernels of 1 x 1 are single numbers: then all of them, a row for each filter.
    """
    filters, channels, height, width = weight.shape
    size = f"{height} x {width}"
    if channels == 3:
        return _colour_kernels(
            weight, f"{name}: {_first(filters, 'kernel')}, {size}, in colour\neach from black to white"
        )
    if height == width == 1:
        return _weights(weight, f"{name}: {_first(filters, 'filter')}, {size}\nthe weight of each input channel")
    of = "each filter sees one channel" if channels == 1 else f"of the heaviest of {channels:,} input channels of each"
    return _scaled_kernels(strongest_kernels(weight[:MOST]), f"{name}: {_first(filters, 'kernel')}, {size}\n{of}")


def _colour_kernels(weight: Tensor, title: str) -> Figure:
    image = mosaic(stretched(weight[:MOST].permute(0, 2, 3, 1).numpy()), SIDE)
    figure = _figure_for(image, 6.4)
    axes = figure.subplots()
    show(axes, image, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    _without_frame(axes)
    return figure


def _scaled_kernels(kernels: Floats, title: str) -> Figure:
    return _diverging(mosaic(kernels, SIDE), title, "equal")


def _weights(weight: Tensor, title: str) -> Figure:
    figure = _diverging(weight[:MOST, :, 0, 0].numpy(), title, "auto")
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
    axes.set_title(title, fontsize=10)
    _without_frame(axes)
    return figure


def _figure_for(image: Floats, width: float, beside: float = 0) -> Figure:
    """As high as ``image`` needs in ``width`` inches, with a title above it and ``beside`` inches for a scale."""
    return new_figure(width + beside, width * image.shape[0] / image.shape[1] + 0.6)


def _without_frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)


def _first(count: int, what: str) -> str:
    return f"{count} {what}s" if count <= MOST else f"the first {MOST} of {count:,} {what}s"
