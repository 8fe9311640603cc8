"""timm's models as backbones: built, loaded and cut into stages, with what timm publishes about their weights."""

import fnmatch
import functools
from collections import OrderedDict
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from inat.config.timm_names import TIMM, timm_errors, timm_settings
from inat.config.validation import raise_if_any
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.errors import ConfigError
from inat.models.stages import HEAD, Renormalise, StagedNetwork
from inat.models.timm_stages import timm_stages

SHOWN = 100  # characters of each reason in a message


@dataclass(frozen=True, slots=True)
class TimmBackbone:
    """A model of timm: the settings that its weights were published for, as timm states them."""

    name: str
    """With "timm:" before it."""

    @property
    def settings(self) -> Any:
        """What timm knows about the weights."""
        return timm_settings(self.name)

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the published accuracy was measured on."""
        return int(self.settings.input_size[-1])

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel for the normalisation of images."""
        return tuple(self.settings.mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel for the normalisation of images."""
        return tuple(self.settings.std)

    @property
    def interpolation(self) -> str:
        """How images were resized, such as bicubic."""
        return str(self.settings.interpolation)

    @property
    def crop_pct(self) -> float:
        """Share of the shorter side of an image that the published accuracy saw."""
        return float(self.settings.crop_pct)

    @property
    def license(self) -> str:
        """Licence of the weights, "" if timm does not state it."""
        return str(self.settings.license or "")

    @property
    def published(self) -> str:
        """Where the weights come from: a repository of the Hugging Face Hub, an address, or "none"."""
        return str(self.settings.hf_hub_id or self.settings.url or "none")


def timm_backbone(name: str) -> TimmBackbone:
    """The backbone ``timm:NAME``; ConfigError with close names if timm has none of this name."""
    raise_if_any([*timm_errors(name)])
    return TimmBackbone(name)


def build_timm(
    name: str, num_classes: int, *, image_size: int | None = None, state_dict: Mapping[str, Tensor] | None = None
) -> StagedNetwork:
    """A network (N, 3, image_size, image_size) -> logits (N, num_classes) with a new head; see build_backbone.

    ``state_dict`` is in any form that timm itself loads for this model, with any number of classes. Raises ConfigError
    for an unknown name, an impossible size, weights of another network, and a model without a classifier.
    """
    backbone = timm_backbone(name)
    size = backbone.image_size if image_size is None else image_size
    if state_dict is None:
        model = _create(name, size, num_classes=num_classes)
    else:
        with torch.random.fork_rng(devices=[]):  # the new head must not depend on how much timm initialises
            model = _pretrained(name, size, num_classes, state_dict)
    _check_size(name, model, size)
    try:
        cut = timm_stages(model, size)
    except ConfigError:
        raise
    except Exception as error:  # the model runs on images of this size for the first time
        raise ConfigError(
            f"{name} cannot take images of {size} px ({_first_line(error)}); its own size is {backbone.image_size} px"
        ) from error
    network = StagedNetwork(cut.stages, name, outputs=cut.outputs)
    network.note = cut.note
    network.reset_outputs()
    network = _normalised_as_published(network, backbone)
    network.undecayed = undecayed_names(network, model)
    return network


def undecayed_names(network: nn.Module, model: Any) -> frozenset[str]:
    """The parameters that timm spares from weight decay, under their names in ``network``, which shares them.

    timm's own names are whole ones or patterns, such as ``pos_embed.*``; ``model`` may lack some.
    """
    if not callable(spared := getattr(model, "no_weight_decay", None)):
        return frozenset()
    patterns = spared()
    shared = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    return frozenset(name for name, parameter in network.named_parameters() if id(parameter) in shared)


def _create(name: str, size: int, **options: Any) -> Any:
    """timm's model for images of ``size`` px; models of convolutions have no option for it."""
    create = functools.partial(timm.create_model, name.removeprefix(TIMM), **options)
    if size == timm_settings(name).input_size[-1]:
        return create()
    try:
        return create(img_size=size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        return create()


def _check_size(name: str, model: Any, size: int) -> None:
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(side, int) and size % side:
        raise ConfigError(f"{name} needs images of a multiple of {side} px, but image_size is {size}")


def _pretrained(name: str, size: int, num_classes: int, weights: Mapping[str, Tensor]) -> Any:
    """The model with ``weights``, which timm converts: other names of layers, positions of another image size."""
    known: Any = copy(weights)
    classifier = timm_settings(name).classifier
    key = f"{classifier if isinstance(classifier, str) else next(iter(classifier or ('head',)))}.weight"
    classes = len(known[key]) if key in known else timm_settings(name).num_classes
    try:
        # With the number of classes of the weights, timm demands that every layer is in them.
        overlay = {"state_dict": known, "num_classes": classes, "custom_load": False, "label_offset": 0}
        model = _create(name, size, num_classes=classes, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # timm converts whatever the file holds
        raise ConfigError(f"these are not weights of {name}: {_reasons(error)}") from error
    model.reset_classifier(num_classes)
    return model


def _reasons(error: Exception) -> str:
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    reasons = lines[1:] if len(lines) > 1 else [_first_line(error)]
    shown = [line if len(line) <= SHOWN else f"{line[:SHOWN]}..." for line in reasons[:2]]
    return "; ".join(shown)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _normalised_as_published(network: StagedNetwork, backbone: TimmBackbone) -> StagedNetwork:
    """Let the first stage convert images from ImageNet's normalisation, in which they come, to that of the weights."""
    if (backbone.mean, backbone.std) == (tuple(IMAGENET_MEAN), tuple(IMAGENET_STD)):
        return network
    stages = OrderedDict(network.named_children())
    name, first = next(iter(stages.items()))
    scale = Renormalise(backbone.mean, backbone.std)
    stages[name] = nn.Sequential(OrderedDict(scale=scale, layers=first))
    outputs = (
        tuple(path.replace(f"{HEAD}.", f"{HEAD}.layers.", 1) for path in network.outputs)
        if name == HEAD
        else network.outputs
    )
    result = StagedNetwork(stages, network.name, outputs=outputs)
    result.note = network.note
    return result
