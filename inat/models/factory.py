"""Build the network of a trial from its configuration."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from inat.config.backbones import IMAGENET, POOLS_KEEP_LAYOUT, BackboneConfig
from inat.config.own_model import OwnModelConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.timm_names import is_timm
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.models.adapters import adapt
from inat.models.backbones import build_backbone, frozen_stage_count, without_memory
from inat.models.classifier import Classifier
from inat.models.drop_path import drop_path_places, set_drop_path
from inat.models.own_model import build_own, code_of, own_stages
from inat.models.own_training import OwnTraining
from inat.models.pool_layout import keep_layout
from inat.models.small_resnet import build_scratch
from inat.models.stages import StagedNetwork
from inat.models.weights import WeightsFile, find_weights, load_weights

RANDOM_BODY_SEED = 0  # without weights, all trials of all studies start from the same random body


def build_classifier(
    config: TrialConfig,
    num_classes: int,
    *,
    net: nn.Module | None = None,
    micro_batch: int | None = None,
    class_weights: Sequence[float] | None = None,
) -> Classifier:
    """The classifier that ``config`` describes.

    ``net`` is its network, or the last stages of it; by default the whole network is built. ``micro_batch``
    and ``class_weights``: see Classifier.
    """
    model = config.model
    whole_or_part = build_network(config, num_classes) if net is None else net
    if isinstance(model, OwnModelConfig) and code_of(model).is_module:
        return OwnTraining(whole_or_part, config.optim, num_classes, micro_batch)
    rate = 1.0 if isinstance(model, ScratchNetwork) else model.body_rate
    if isinstance(whole_or_part, StagedNetwork):
        whole_or_part.checkpointed = config.optim.grad_checkpointing
        if config.optim.drop_path is not None:
            set_drop_path(whole_or_part, config.optim.drop_path)
    return Classifier(
        whole_or_part,
        config.optim,
        num_classes,
        micro_batch,
        rate,
        class_weights,
        config.probe_epochs,
        config.max_epochs,
    )


def build_network(config: TrialConfig, num_classes: int) -> nn.Module:
    """The whole network: a new CNN, or a backbone with a new head and frozen stages as ``config.model`` says.

    The networks of this process share their frozen stages. Raises ConfigError if there are no weights or the images are
    too small.
    """
    model, size = config.model, config.data.image_size
    if isinstance(model, ScratchNetwork):
        return build_scratch(model, size, num_classes)
    if isinstance(model, OwnModelConfig) and not model.strategy:
        return build_own(model, size, num_classes, config.optim)
    shared = load_pretrained(model, size, num_classes)
    stages = OrderedDict([*shared.prefix().named_children(), *trainable_stages(shared).named_children()])
    network = StagedNetwork(stages, shared.name, shared.weights, shared.outputs, shared.undecayed)
    network.freeze(shared.frozen)
    adapt(network, model)
    return network


def trainable_stages(shared: StagedNetwork) -> StagedNetwork:
    """A copy of the stages of a pretrained network that train; torch's random numbers initialise its head."""
    stages = copy.deepcopy(shared.suffix()).requires_grad_().train()
    stages.reset_outputs()
    stages.places_before = len(drop_path_places(shared.prefix()))
    if shared.pools_keep_layout:
        keep_layout(stages)
    return stages


def load_pretrained(model: BackboneConfig | OwnModelConfig, image_size: int, num_classes: int) -> StagedNetwork:
    """The network from which a backbone starts, with the number of its frozen stages set.

    All trials of this process share its stages, so nothing may change them: they are in eval mode and require no
    gradients.
    """
    if isinstance(model, OwnModelConfig):
        return _with_frozen(own_stages(model, image_size, num_classes), model)
    file = None
    if model.weights == IMAGENET:
        file = find_weights(model.backbone, Path(model.weights_dir) if model.weights_dir else None)
        if model.weights_sha256 not in ("", file.sha256):
            raise ConfigError(
                f"the weights of {model.backbone} in {file.path} are not those the study began with; restore those, "
                "then resume the study"
            )
    return _with_frozen(_load(model.backbone, image_size, num_classes, file), model)


def _with_frozen(cached: StagedNetwork, model: BackboneConfig | OwnModelConfig) -> StagedNetwork:
    stages = OrderedDict(cached.named_children())
    network = StagedNetwork(stages, cached.name, cached.weights, cached.outputs, cached.undecayed)
    network.frozen = frozen_stage_count(network, model.strategy, model.k_layers)
    network.pools_keep_layout = model.feature_rules >= POOLS_KEEP_LAYOUT
    return network.eval()


def uninitialised_network(model: BackboneConfig, image_size: int, num_classes: int) -> StagedNetwork:
    """The whole network with arbitrary values, to load a complete state dict into."""
    with _without_values(model):
        network = build_backbone(model.backbone, num_classes, image_size=image_size)
        network.freeze(frozen_stage_count(network, model.strategy, model.k_layers))
        adapt(network, model)
    return network if is_timm(model.backbone) else network.to_empty(device="cpu")


@contextmanager
def _without_values(model: BackboneConfig) -> Iterator[None]:
    """Build networks of torchvision without memory, which skips the random initialisation; others as they are.

    timm's models have buffers, such as positions, that are in no state dict, and some compute while they are built.
    """
    with torch.random.fork_rng(devices=[]) if is_timm(model.backbone) else torch.device("meta"):
        yield


def count_trained(model: BackboneConfig, image_size: int, num_classes: int) -> int:
    """Number of parameters that train, counted without memory or time for the network."""
    network = without_memory(model.backbone, num_classes, image_size)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network.freeze(frozen_stage_count(network, model.strategy, model.k_layers))
        adapt(network, model)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@lru_cache(maxsize=1)  # a grid trains one backbone after the other
def _load(name: str, image_size: int, num_classes: int, file: WeightsFile | None) -> StagedNetwork:
    with torch.random.fork_rng(devices=[]):  # a head must not depend on whether its trial found the body in this cache
        torch.manual_seed(RANDOM_BODY_SEED)
        state = None if file is None else load_weights(file.path)
        network = build_backbone(name, num_classes, image_size=image_size, state_dict=state)
    network.weights = f"random {RANDOM_BODY_SEED}" if file is None else file.sha256
    return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
