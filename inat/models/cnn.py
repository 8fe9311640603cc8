"""The convolutional networks of the published space for nature_12K, and residual ones."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from inat.config.cnn import ACTIVATIONS, AVERAGE, FLATTEN, RESIDUAL, CNNConfig
from inat.config.validation import pooling_errors, raise_if_any
from inat.models.mish import Mish

Activation = Callable[[], nn.Module]
Layers = OrderedDict[str, nn.Module]
ACTIVATION_LAYERS: dict[str, Activation] = dict(zip(ACTIVATIONS, (nn.ReLU, nn.GELU, nn.SiLU, Mish), strict=True))


class ConvolutionalNetwork(nn.Sequential):
    """Named layers, one after the other: images (N, 3, height, width) -> logits (N, classes).

    In training, a max-pool comes before the ReLU that its block has before it, with the same values and gradients to
    the last bit: the largest of four values stays the largest, and where all of them become 0, no gradient passes in
    either order. ReLU then has a quarter of the work. The other activations fall before they rise, so that their
    largest value need not be that of the largest input.
    """

    def forward(self, images: Tensor) -> Tensor:
        # A forward of this package, because torch 2.11 leaves the one of nn.Sequential uncompiled without a word.
        for layer in self._cheapest_order() if self.training else self:
            images = layer(images)
        return images

    def _cheapest_order(self) -> list[nn.Module]:
        layers = list(self)
        for i, (first, second) in enumerate(pairwise(self)):
            if isinstance(first, nn.ReLU) and isinstance(second, nn.MaxPool2d):
                layers[i : i + 2] = [second, first]
        return layers


def build_cnn(config: CNNConfig, image_size: int, num_classes: int) -> ConvolutionalNetwork:
    """A network (N, 3, image_size, image_size) -> logits (N, num_classes).

    ``conv_layers`` blocks, each of which halves the image. A plain block is conv 3x3 with padding 1, [batch norm],
    activation, max-pool 2. With residual blocks, the first block has its pool directly after the convolution, and the
    others are ResidualBlocks. The head is flatten, dense, activation, dropout, output; or global pooling, flatten,
    dropout, output. Raises ConfigError if the blocks would leave no pixel.
    """
    raise_if_any(pooling_errors(config.conv_layers, image_size))
    layers: Layers = OrderedDict()
    channels = 3
    for i, filters in enumerate(config.filters, start=1):
        if config.block == RESIDUAL and i > 1:
            activation = ACTIVATION_LAYERS[config.activation]
            layers[f"block{i}"] = ResidualBlock(channels, filters, activation, batch_norm=config.batch_norm)
        else:
            _add_convolution(layers, i, channels, filters, config)
        channels = filters
    _add_head(layers, channels, image_size // 2**config.conv_layers, config, num_classes)
    return ConvolutionalNetwork(layers)


def _add_convolution(layers: Layers, number: int, channels: int, filters: int, config: CNNConfig) -> None:
    pool_first = config.block == RESIDUAL  # a quarter of the work for norm and activation, where images are largest
    layers[f"conv{number}"] = nn.Conv2d(channels, filters, kernel_size=3, padding=1)
    if pool_first:
        layers[f"pool{number}"] = nn.MaxPool2d(2)
    if config.batch_norm:
        layers[f"norm{number}"] = nn.BatchNorm2d(filters)
    layers[f"act{number}"] = ACTIVATION_LAYERS[config.activation]()
    if not pool_first:
        layers[f"pool{number}"] = nn.MaxPool2d(2)


def _add_head(layers: Layers, channels: int, side: int, config: CNNConfig, num_classes: int) -> None:
    width = channels
    if config.pooling != FLATTEN:
        layers[config.pooling] = nn.AdaptiveAvgPool2d(1) if config.pooling == AVERAGE else nn.AdaptiveMaxPool2d(1)
    layers["flatten"] = nn.Flatten()
    if config.pooling == FLATTEN:
        width = config.num_neurons_dense
        layers["dense"] = nn.Linear(channels * side * side, width)
        layers["act_dense"] = ACTIVATION_LAYERS[config.activation]()
    layers["dropout"] = nn.Dropout(config.dropout)
    layers["output"] = nn.Linear(width, num_classes)


class ResidualBlock(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H // 2, W // 2): a convolution, and a second one beside a shortcut.

    Both are conv 3x3, [batch norm], activation. The first one has a max-pool 2 after its convolution, so that norm and
    activation have a quarter of the work. The output of the second one is added to that of the first one.
    """

    def __init__(self, in_channels: int, out_channels: int, activation: Activation, *, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not batch_norm)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.act1 = activation()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=not batch_norm)
        self.norm2 = nn.BatchNorm2d(out_channels) if batch_norm else nn.Identity()
        self.act2 = activation()

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of half the side."""
        flow: Tensor = self.act1(self.norm1(self.pool(self.conv1(images))))
        added: Tensor = self.act2(self.norm2(self.conv2(flow)))
        return flow + added


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One row of a model summary; ``output_shape`` is without the batch."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int


def summarise(network: nn.Sequential, image_size: int) -> list[LayerRow]:
    """Output shape and number of parameters of each layer for one square RGB image of ``image_size`` px."""
    rows = []
    flow = torch.zeros(1, 3, image_size, image_size, device=next(network.parameters()).device)
    with torch.no_grad():
        for name, layer in network.eval().named_children():
            flow = layer(flow)
            rows.append(LayerRow(name, tuple(flow.shape[1:]), sum(p.numel() for p in layer.parameters())))
    return rows
