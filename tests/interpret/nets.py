"""Small networks, and what a network has of hooks."""

import torch
from torch import nn

from inat.config.trial import CNNConfig
from inat.models.backbones import build_backbone
from inat.models.cnn import build_cnn

# Backbones with the smallest images that leave the last maps more than one pixel.
BACKBONES = {
    "mobilenet_v2": 64, "resnet50": 64, "vit_b_16": 48, "googlenet": 64, "inception_v3": 107, "vgg16": 64,
    "efficientnet_v2_s": 64,
}  # fmt: skip


def cnn(activation: str = "relu", size: int = 16) -> nn.Sequential:
    """Two convolutions with batch norms that have seen something."""
    torch.manual_seed(0)
    config = CNNConfig(
        first_layer_filters=6, filter_org=2, conv_layers=2, activation=activation, dropout=0.2, batch_norm=True,
        num_neurons_dense=8,
    )  # fmt: skip
    net = build_cnn(config, size, 3)
    net.train()(torch.randn(8, 3, size, size))
    return net.eval()


def backbone(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network with random weights and frozen stages, and an image for it."""
    torch.manual_seed(0)
    net = build_backbone(name, 3, image_size=BACKBONES[name])
    net.freeze(len(net) - 1)
    return net.eval(), torch.randn(3, BACKBONES[name], BACKBONES[name])


def hooks(net: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in net.modules() for kind in kinds)


class Failing(nn.Module):
    """A last stage that refuses what it is given."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ValueError("on purpose")
