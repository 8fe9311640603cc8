"""Networks as ordered lists of named stages, and how torchvision's models become such lists.

Stages hold the model's own layers in their own order, so the outputs are bit-equal to torchvision's.
"""

from collections import OrderedDict
from typing import Any, Self

import torch
from torch import Tensor, nn

from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.errors import ConfigError

Stages = OrderedDict[str, nn.Module]
HEAD = "head"


class StagedNetwork(nn.Sequential):
    """Named stages from images (N, 3, H, W) to logits (N, classes); the first ``frozen`` of them do not train.

    Frozen stages stay in eval mode whatever mode the network is in: their batch norms keep the statistics they have,
    and the same image always gives the same features. ``weights`` tells the ones it began with from others.
    """

    def __init__(self, stages: Stages, name: str = "network", weights: str = "") -> None:
        super().__init__(stages)
        self.name, self.weights = name, weights
        self.frozen = 0

    def freeze(self, count: int) -> None:
        """Freeze the first ``count`` stages, let the others train; ConfigError if none would be left."""
        if not 0 <= count < len(self):
            raise ConfigError(f"cannot freeze {count} of the {len(self)} stages of {self.name}: one has to train")
        self.frozen = count
        for i, stage in enumerate(self):
            stage.requires_grad_(i >= count)
            if i < count:
                stage.zero_grad(set_to_none=True)  # an optimizer with momentum or decay moves what has a gradient
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for stage in list(self)[: self.frozen]:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W); nothing of the frozen stages is kept for backward."""
        stages, flow = list(self), images
        # Images that ask for gradients themselves (saliency maps) get them through frozen stages, too.
        with torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad):
            for stage in stages[: self.frozen]:
                flow = stage(flow)
        for stage in stages[self.frozen :]:
            flow = stage(flow)
        return flow

    def prefix(self) -> "StagedNetwork":
        """The frozen stages: the same modules under the same names. Images (N, 3, H, W) -> features (N, ...)."""
        return self._view(slice(None, self.frozen), self.frozen)

    def suffix(self) -> "StagedNetwork":
        """The stages that train: the same modules under the same names. Features (N, ...) -> logits (N, classes)."""
        return self._view(slice(self.frozen, None), 0)

    def _view(self, part: slice, frozen: int) -> "StagedNetwork":
        view = StagedNetwork(OrderedDict(list(self.named_children())[part]), self.name, self.weights)
        view.frozen, view.training = frozen, self.training
        return view


class InceptionScale(nn.Module):
    """Images normalised as ImageNet's (N, 3, H, W) -> normalised with mean and deviation 0.5, as Inception wants them.

    It holds no buffers: those of a network made on the meta device would have to come from a state dict.
    """

    def forward(self, images: Tensor) -> Tensor:
        channels = [
            images[:, i : i + 1] * (std / 0.5) + (mean - 0.5) / 0.5
            for i, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
        ]
        return torch.cat(channels, 1)


class Tokens(nn.Module):
    """The vision transformer's input: images (N, 3, S, S) -> class token and patches (N, 1 + (S / patch)^2, width)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_proj, self.dropout = model.conv_proj, model.encoder.dropout
        self.class_token, self.pos_embedding = model.class_token, model.encoder.pos_embedding

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images).flatten(2).permute(0, 2, 1)
        # Not len(images), a plain number: torch.export would fix it as the only size of a batch.
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], 1)
        embedded: Tensor = self.dropout(tokens + self.pos_embedding)
        return embedded


class ClassToken(nn.Module):
    """Tokens (N, T, width) -> the first of them (N, width)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def googlenet_stages(model: Any) -> Stages:
    """The stem and nine inception modules of GoogLeNet; auxiliary heads are left out."""
    scale = InceptionScale() if model.transform_input else nn.Identity()
    first = {"conv1": model.conv1, "pool1": model.maxpool1}
    stem = _chain(scale=scale, **first, conv2=model.conv2, conv3=model.conv3, pool2=model.maxpool2)
    stages = _with_blocks(stem, model, "inception")
    stages["inception3b"] = _chain(block=model.inception3b, pool=model.maxpool3)
    stages["inception4e"] = _chain(block=model.inception4e, pool=model.maxpool4)
    return _with_head(stages, model.avgpool, model.fc, model.dropout.p)


def inception_stages(model: Any) -> Stages:
    """The stem and eleven Mixed modules of Inception v3; the auxiliary head is left out."""
    scale = InceptionScale() if model.transform_input else nn.Identity()
    stem = _chain(
        scale=scale, conv1a=model.Conv2d_1a_3x3, conv2a=model.Conv2d_2a_3x3, conv2b=model.Conv2d_2b_3x3,
        pool1=model.maxpool1, conv3b=model.Conv2d_3b_1x1, conv4a=model.Conv2d_4a_3x3, pool2=model.maxpool2,
    )  # fmt: skip
    stages = _with_blocks(stem, model, "Mixed_")
    return _with_head(stages, model.avgpool, model.fc, model.dropout.p)


def resnet_stages(model: Any) -> Stages:
    """The stem and four layers of any ResNet."""
    stem = _chain(conv1=model.conv1, bn1=model.bn1, relu=model.relu, pool=model.maxpool)
    return _with_head(_with_blocks(stem, model, "layer"), model.avgpool, model.fc)


def vgg_stages(model: Any) -> Stages:
    """The blocks of convolutions of any VGG, each up to its max-pool, and its two hidden dense layers."""
    stages: Stages = OrderedDict()
    block: list[nn.Module] = []
    for layer in model.features:
        block.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages[f"block{len(stages) + 1}"] = nn.Sequential(*block)
            block = []
    fc6, relu6, dropout6, fc7, relu7, dropout7, output = model.classifier
    stages["fc6"] = _chain(pool=model.avgpool, flatten=nn.Flatten(), linear=fc6, relu=relu6, dropout=dropout6)
    stages["fc7"] = _chain(linear=fc7, relu=relu7, dropout=dropout7)
    stages[HEAD] = _chain(linear=output)
    return stages


def feature_stages(model: Any) -> Stages:
    """``features`` of a MobileNet or EfficientNet, each of its children one stage."""
    stages: Stages = OrderedDict((f"features{name}", child) for name, child in model.features.named_children())
    dropout, output = model.classifier
    return _with_head(stages, nn.AdaptiveAvgPool2d(1), output, dropout.p)


def vit_stages(model: Any) -> Stages:
    """The tokens with their positions, and every encoder layer; the last one also normalises and gives the class."""
    stages: Stages = OrderedDict(embed=Tokens(model))
    stages.update(model.encoder.layers.named_children())
    name, last = stages.popitem()
    stages[name] = _chain(block=last, norm=model.encoder.ln, token=ClassToken())
    stages[HEAD] = _chain(linear=model.heads.head)
    return stages


def _chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _with_blocks(stem: nn.Module, model: nn.Module, start: str) -> Stages:
    blocks = ((name, child) for name, child in model.named_children() if name.startswith(start))
    return OrderedDict([("stem", stem), *blocks])


def _with_head(stages: Stages, pool: nn.Module, output: nn.Linear, dropout: float = 0.0) -> Stages:
    # Pooling belongs to the body, so that the features of a frozen body are small vectors (N, channels).
    name, last = stages.popitem()
    stages[name] = _chain(block=last, pool=pool, flatten=nn.Flatten())
    # EfficientNet's own dropout works in place, which would change features that are kept for the next epoch.
    stages[HEAD] = _chain(dropout=nn.Dropout(dropout), linear=output) if dropout else _chain(linear=output)
    return stages
