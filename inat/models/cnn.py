"""The predecessor's family of convolutional networks."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from inat.checks import refuse
from inat.config import ACTIVATIONS, CNNConfig, too_many_pools

ACTIVATION_LAYERS: dict[str, Callable[[], nn.Module]] = dict(
    zip(ACTIVATIONS, (nn.ReLU, nn.GELU, nn.SiLU, nn.Mish), strict=True)
)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One row of a model summary."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int


def build_cnn(config: CNNConfig, image_size: int, num_classes: int) -> nn.Sequential:
    """A network (N, 3, image_size, image_size) -> logits (N, num_classes).

    ``conv_layers`` blocks of conv 3x3 with padding 1, [batch norm], activation, max-pool 2; then flatten, dense,
    activation, dropout, output. Raises ConfigError if the pools would leave no pixel.
    """
    refuse(too_many_pools(config.conv_layers, image_size))
    activation = ACTIVATION_LAYERS[config.activation]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for i, filters in enumerate(config.filters, start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels, filters, kernel_size=3, padding=1)
        if config.batch_norm:
            layers[f"norm{i}"] = nn.BatchNorm2d(filters)
        layers[f"act{i}"] = activation()
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        channels = filters
    side = image_size // 2**config.conv_layers
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(channels * side * side, config.num_neurons_dense)
    layers["act_dense"] = activation()
    layers["dropout"] = nn.Dropout(config.dropout)
    layers["output"] = nn.Linear(config.num_neurons_dense, num_classes)
    return nn.Sequential(layers)


def summarise(network: nn.Sequential, image_size: int) -> list[LayerRow]:
    """Output shape (without the batch) and parameters of each layer for one square RGB image."""
    rows = []
    flow = torch.zeros(1, 3, image_size, image_size, device=next(network.parameters()).device)
    with torch.no_grad():
        for name, layer in network.eval().named_children():
            flow = layer(flow)
            rows.append(LayerRow(name, tuple(flow.shape[1:]), sum(p.numel() for p in layer.parameters())))
    return rows
