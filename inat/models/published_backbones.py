"""torchvision's networks as backbones: their weights, their conversion to stages, and what torchvision publishes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torchvision import models
from torchvision.models import WeightsEnum

from inat.config.backbones import unknown_backbone_errors
from inat.errors import ConfigError
from inat.models.stages import (
    Stages,
    feature_stages,
    googlenet_stages,
    inception_stages,
    resnet_stages,
    vgg_stages,
    vit_stages,
)

# The options that torchvision's builders set when they load weights. Without weights, init_weights must be set, or
# torchvision warns.
INCEPTION: Mapping[str, Any] = MappingProxyType({"aux_logits": False, "transform_input": True, "init_weights": True})


@dataclass(frozen=True, slots=True)
class Backbone:
    """A model of torchvision: its ImageNet weights, its conversion to stages, and facts that torchvision publishes."""

    weights: WeightsEnum
    stages: Callable[[Any], Stages]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of torchvision's builder."""
    auxiliary: tuple[str, ...] = ()
    """Prefixes of the keys of auxiliary heads, which only the training of the published weights used."""
    patch: int = 0
    """Side in pixels of a vision transformer's patches; 0 for networks that accept any size from ``min_size`` on."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the images on which the published accuracy was measured."""
        return int(self.weights.transforms().crop_size[0])

    @property
    def min_size(self) -> int:
        """Side in pixels of the smallest images; for vision transformers, torchvision states their own size."""
        return self.patch or int(max(self.weights.meta["min_size"]))

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel for the normalisation of images."""
        return tuple(self.weights.transforms().mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel for the normalisation of images."""
        return tuple(self.weights.transforms().std)

    @property
    def top1(self) -> float:
        """Published top-1 accuracy on ImageNet's validation images, in percent."""
        return float(self.weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])

    @property
    def parameters(self) -> int:
        """Number of parameters of the published network, including 1,000 classes and Inception's auxiliary head."""
        return int(self.weights.meta["num_params"])

    @property
    def file_name(self) -> str:
        """Name of the published weights file."""
        return str(self.weights.url).rpartition("/")[2]


BACKBONES: dict[str, Backbone] = {
    "googlenet": Backbone(
        models.GoogLeNet_Weights.IMAGENET1K_V1, googlenet_stages, INCEPTION, auxiliary=("aux1.", "aux2.")
    ),
    "inception_v3": Backbone(
        models.Inception_V3_Weights.IMAGENET1K_V1, inception_stages, INCEPTION, auxiliary=("AuxLogits.",)
    ),
    "resnet50": Backbone(models.ResNet50_Weights.IMAGENET1K_V2, resnet_stages),
    "vgg16": Backbone(models.VGG16_Weights.IMAGENET1K_V1, vgg_stages),
    "efficientnet_v2_s": Backbone(models.EfficientNet_V2_S_Weights.IMAGENET1K_V1, feature_stages),
    "vit_b_16": Backbone(models.ViT_B_16_Weights.IMAGENET1K_V1, vit_stages, patch=16),
    "mobilenet_v2": Backbone(models.MobileNet_V2_Weights.IMAGENET1K_V2, feature_stages),
}


def get_backbone(name: str) -> Backbone:
    """The backbone called ``name``; ConfigError with the known names if there is none."""
    if name not in BACKBONES:
        raise ConfigError(*unknown_backbone_errors(name))
    return BACKBONES[name]
