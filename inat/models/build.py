"""From the configuration of a trial to its network."""

import copy
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from inat.config import IMAGENET, UNFREEZE_ALL, BackboneConfig, CNNConfig, TrialConfig
from inat.models.backbones import build_backbone, frozen_stages
from inat.models.classifier import Classifier
from inat.models.cnn import build_cnn
from inat.models.stages import HEAD, StagedNetwork
from inat.models.weights import find_weights, load_weights

RANDOM_BODY_SEED = 0  # without weights, all trials of all studies start from the same random body


def build_classifier(config: TrialConfig, num_classes: int, micro_batch: int | None = None) -> Classifier:
    """The classifier that ``config`` describes, from images to logits; ``micro_batch`` as Classifier takes it."""
    return classifier_of(config, build_network(config, num_classes), num_classes, micro_batch)


def classifier_of(config: TrialConfig, net: nn.Module, num_classes: int, micro_batch: int | None = None) -> Classifier:
    """``net``, which may be the last part of the network that ``config`` describes, ready to train."""
    model = config.model
    whole_body = isinstance(model, BackboneConfig) and model.strategy == UNFREEZE_ALL
    factor = model.body_lr_factor if isinstance(model, BackboneConfig) and whole_body else 1.0
    return Classifier(net, config.optim, num_classes, micro_batch, factor)


def build_network(config: TrialConfig, num_classes: int) -> nn.Module:
    """The whole network: a new CNN, or a backbone with a new head whose frozen stages are frozen."""
    if isinstance(config.model, CNNConfig):
        return build_cnn(config.model, config.data.image_size, num_classes)
    prefix, suffix = build_parts(config.model, config.data.image_size, num_classes)
    network = StagedNetwork(OrderedDict([*prefix.named_children(), *suffix.named_children()]), suffix.name)
    network.freeze(len(prefix))
    return network


def build_parts(model: BackboneConfig, image_size: int, num_classes: int) -> tuple[StagedNetwork, StagedNetwork]:
    """The frozen stages of a backbone, shared by the trials of this process, and a copy of the others to train."""
    network = _pretrained(model.backbone, image_size, num_classes, model.weights, model.weights_dir)
    network.freeze(frozen_stages(network, model.strategy, model.k_layers))
    suffix = copy.deepcopy(network.suffix())
    output = suffix.get_submodule(f"{HEAD}.linear")
    assert isinstance(output, nn.Linear)
    output.reset_parameters()  # from the trial's seed
    return network.prefix(), suffix.train()


@lru_cache(maxsize=1)  # a grid goes through its backbones one after the other
def _pretrained(name: str, image_size: int, num_classes: int, weights: str, weights_dir: str) -> StagedNetwork:
    if weights == IMAGENET:
        found = find_weights(name, Path(weights_dir) if weights_dir else None)
        return build_backbone(name, num_classes, image_size=image_size, state_dict=load_weights(found.path))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_BODY_SEED)
        return build_backbone(name, num_classes, image_size=image_size)


def weights_of(model: BackboneConfig) -> str:
    """What tells one set of weights from another: the SHA-256 of the file, or the seed of the random ones."""
    if model.weights != IMAGENET:
        return f"random {RANDOM_BODY_SEED}"
    return find_weights(model.backbone, Path(model.weights_dir) if model.weights_dir else None).sha256
