"""Small networks for tests, and a count of a network's hooks."""

import torch
from torch import nn

from inat.config.cnn import CNNConfig
from inat.models.backbones import build_backbone
from inat.models.cnn import build_cnn

# Backbones with the smallest image size (px) whose last maps are larger than one pixel.
BACKBONES = {
    "mobilenet_v2": 64, "resnet50": 64, "vit_b_16": 48, "googlenet": 64, "inception_v3": 107, "vgg16": 64,
    "efficientnet_v2_s": 64,
}  # fmt: skip


def cnn(activation: str = "relu", size: int = 16) -> nn.Sequential:
    """Two convolutions with batch norms whose statistics are not the initial ones."""
    torch.manual_seed(0)
    config = CNNConfig(
        first_layer_filters=6, filter_org=2, conv_layers=2, activation=activation, dropout=0.2, batch_norm=True,
        num_neurons_dense=8,
    )  # fmt: skip
    net = build_cnn(config, size, 3)
    net.train()(torch.randn(8, 3, size, size))
    return net.eval()


def backbone(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network with random weights and all stages but one frozen, and an image (3, S, S) for it."""
    torch.manual_seed(0)
    net = build_backbone(name, 3, image_size=BACKBONES[name])
    net.freeze(len(net) - 1)
    return net.eval(), torch.randn(3, BACKBONES[name], BACKBONES[name])


def hooks(net: nn.Module) -> int:
    """Number of hooks on all modules of ``net``."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in net.modules() for kind in kinds)


class Failing(nn.Module):
    """A stage that raises an error."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ValueError("on purpose")
