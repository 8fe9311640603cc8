"""Networks as ordered lists of named stages, and the conversion of torchvision's models to such lists.

Stages contain the layers of the model in their order, so the outputs have the same bits as torchvision's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.errors import ConfigError
from inat.models.activation_checkpoints import run_checkpointed

Stages = OrderedDict[str, nn.Module]
HEAD = "head"


class StagedNetwork(nn.Sequential):
    """Named stages from images (N, 3, H, W) to logits (N, classes); the first ``frozen`` of them do not train.

    Frozen stages stay in eval mode in every mode of the network: their batch norms keep their statistics, so the same
    image always gives the same features. So do the modules in ``still``. ``weights`` identifies the weights from which
    the network started. ``outputs`` are the paths of the layers that compute the logits: one, or two in distilled
    models. ``undecayed`` are names of parameters that weight decay should not act on, beside those that no network
    decays; a part of a network keeps all of them. With ``checkpointed``, the stages before the head keep no activations
    for the backward pass.
    """

    def __init__(
        self,
        stages: Stages,
        name: str = "network",
        weights: str = "",
        outputs: tuple[str, ...] = (f"{HEAD}.linear",),
        undecayed: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(stages)
        self.name, self.weights, self.outputs, self.undecayed = name, weights, outputs, undecayed
        self.frozen = 0
        self.note = ""  # why it has few stages, if it could not be cut into more
        self.still: list[nn.Module] = []
        self.checkpointed = False
        self.pools_keep_layout = False  # in copies of the stages that train: see inat.models.pool_layout
        self.places_before = 0  # in the stages that this network was cut from: see inat.models.drop_path

    def freeze(self, count: int) -> None:
        """Freeze the first ``count`` stages and let the others train; ConfigError if no other stage exists."""
        if not 0 <= count < len(self):
            raise ConfigError(f"cannot freeze {count} of the {len(self)} stages of {self.name}: one has to train")
        self.frozen = count
        for i, stage in enumerate(self):
            stage.requires_grad_(i >= count)
            if i < count:
                stage.zero_grad(set_to_none=True)  # momentum or decay would move parameters that have a gradient
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in [*list(self)[: self.frozen], *self.still]:
            part.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W), without a backward graph of the frozen stages."""
        stages, flow = list(self), images
        # If the images require gradients (saliency maps), frozen stages need a graph, too.
        with torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad):
            for stage in stages[: self.frozen]:
                flow = stage(flow)
        for stage in stages[self.frozen :]:
            flow = run_checkpointed(stage, flow) if self.checkpointed and stage is not stages[-1] else stage(flow)
        return flow

    def prefix(self) -> "StagedNetwork":
        """The frozen stages, the same modules under the same names: images (N, 3, H, W) -> features (N, ...)."""
        return self._view(slice(None, self.frozen), self.frozen)

    def suffix(self) -> "StagedNetwork":
        """The trainable stages, the same modules under the same names: features (N, ...) -> logits (N, classes)."""
        return self._view(slice(self.frozen, None), 0)

    def reset_outputs(self) -> None:
        """Initialise the layers that compute the logits with torch's random numbers."""
        for path in self.outputs:
            for layer in self.get_submodule(path).modules():
                if callable(reset := getattr(layer, "reset_parameters", None)):
                    reset()

    def _view(self, part: slice, frozen: int) -> "StagedNetwork":
        stages = OrderedDict(list(self.named_children())[part])
        view = StagedNetwork(stages, self.name, self.weights, self.outputs, self.undecayed)
        view.frozen, view.training = frozen, self.training
        return view


class Renormalise(nn.Module):
    """Converts images (N, 3, H, W) from ImageNet's normalisation to that by the ``mean`` and ``std`` of each channel.

    It has no buffers: a network created on the meta device would have to load them from a state dict.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)

    def forward(self, images: Tensor) -> Tensor:
        channels = [
            images[:, i : i + 1] * (std / self.std[i]) + (mean - self.mean[i]) / self.std[i]
            for i, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True))
        ]
        return torch.cat(channels, 1)


class InceptionScale(Renormalise):
    """Converts images (N, 3, H, W) from ImageNet's normalisation to mean and deviation 0.5, which Inception expects."""

    def __init__(self) -> None:
        super().__init__((0.5,) * 3, (0.5,) * 3)


class Tokens(nn.Module):
    """Input of a vision transformer: images (N, 3, S, S) -> class token and patches (N, 1 + (S / patch)^2, width)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_proj, self.dropout = model.conv_proj, model.encoder.dropout
        self.class_token, self.pos_embedding = model.class_token, model.encoder.pos_embedding

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images).flatten(2).permute(0, 2, 1)
        # Not len(images), a plain number: torch.export would accept no other batch size.
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), patches], 1)
        embedded: Tensor = self.dropout(tokens + self.pos_embedding)
        return embedded


class ClassToken(nn.Module):
    """Tokens (N, T, width) -> the first token (N, width)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def googlenet_stages(model: Any) -> Stages:
    """Stages of GoogLeNet: the stem and nine inception modules, without auxiliary heads."""
    scale = InceptionScale() if model.transform_input else nn.Identity()
    first = {"conv1": model.conv1, "pool1": model.maxpool1}
    stem = _chain(scale=scale, **first, conv2=model.conv2, conv3=model.conv3, pool2=model.maxpool2)
    stages = _with_blocks(stem, model, "inception")
    stages["inception3b"] = _chain(block=model.inception3b, pool=model.maxpool3)
    stages["inception4e"] = _chain(block=model.inception4e, pool=model.maxpool4)
    return _with_head(stages, model.avgpool, model.fc, model.dropout.p)


def inception_stages(model: Any) -> Stages:
    """Stages of Inception v3: the stem and eleven Mixed modules, without the auxiliary head."""
    scale = InceptionScale() if model.transform_input else nn.Identity()
    stem = _chain(
        scale=scale, conv1a=model.Conv2d_1a_3x3, conv2a=model.Conv2d_2a_3x3, conv2b=model.Conv2d_2b_3x3,
        pool1=model.maxpool1, conv3b=model.Conv2d_3b_1x1, conv4a=model.Conv2d_4a_3x3, pool2=model.maxpool2,
    )  # fmt: skip
    stages = _with_blocks(stem, model, "Mixed_")
    return _with_head(stages, model.avgpool, model.fc, model.dropout.p)


def resnet_stages(model: Any) -> Stages:
    """Stages of a ResNet: the stem and four layers."""
    stem = _chain(conv1=model.conv1, bn1=model.bn1, relu=model.relu, pool=model.maxpool)
    return _with_head(_with_blocks(stem, model, "layer"), model.avgpool, model.fc)


def vgg_stages(model: Any) -> Stages:
    """Stages of a VGG: the blocks of convolutions, each up to its max-pool, and the two hidden dense layers."""
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
    """Stages of a MobileNet or EfficientNet: each child of ``features``."""
    stages: Stages = OrderedDict((f"features{name}", child) for name, child in model.features.named_children())
    dropout, output = model.classifier
    return _with_head(stages, nn.AdaptiveAvgPool2d(1), output, dropout.p)


def vit_stages(model: Any) -> Stages:
    """Stages of a vision transformer: the tokens with their positions, and each encoder layer.

    The last stage also normalises the tokens and returns the class token.
    """
    stages: Stages = OrderedDict(embed=Tokens(model))
    stages.update(model.encoder.layers.named_children())
    name, last = stages.popitem()
    stages[name] = _chain(block=last, norm=model.encoder.ln, token=ClassToken())
    stages[HEAD] = _chain(linear=model.heads.head)
    return stages


def _chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _with_blocks(stem: nn.Module, model: nn.Module, prefix: str) -> Stages:
    blocks = ((name, child) for name, child in model.named_children() if name.startswith(prefix))
    return OrderedDict([("stem", stem), *blocks])


def _with_head(stages: Stages, pool: nn.Module, output: nn.Linear, dropout: float = 0.0) -> Stages:
    # Pooling is part of the body, so that the features of a frozen body are small vectors (N, channels).
    name, last = stages.popitem()
    stages[name] = _chain(block=last, pool=pool, flatten=nn.Flatten())
    # EfficientNet's own dropout works in place and would change features that are kept for the next epoch.
    stages[HEAD] = _chain(dropout=nn.Dropout(dropout), linear=output) if dropout else _chain(linear=output)
    return stages
