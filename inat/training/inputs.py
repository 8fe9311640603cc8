"""The inputs of a training: images and the whole network, or kept features and the stages that train."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.filesize import decimal
from torch import nn

from inat.config.backbones import BackboneConfig
from inat.config.trial import TrialConfig
from inat.data.datamodule import FeatureDataModule, ImageDataModule
from inat.data.disk import free_bytes
from inat.data.splits import load_splits
from inat.errors import CacheFullError
from inat.models.factory import build_network, trainable_stages
from inat.models.frozen_features import FeaturePlan, open_features, plan_features


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """A network with the data that it takes; ``note`` tells the user why features were not kept, if they were not."""

    data: ImageDataModule | FeatureDataModule
    net: nn.Module
    note: str = ""


def prepare_inputs(config: TrialConfig, heartbeat: Callable[[], None] = lambda: None) -> TrainingInputs:
    """Data and network of a trial; missing features of frozen stages are computed now.

    Computing features may take hours, during which ``heartbeat`` is called regularly.

    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2,
    ... }
    >>> inputs = prepare_inputs(TrialConfig.from_params(params))
    >>> images, labels, _ = next(iter(inputs.data.train_dataloader()))
    >>> images.shape, labels.shape
    (torch.Size([64, 3, 8, 8]), torch.Size([64]))
    """
    classes = load_splits(config.data).classes
    plan = plan_features(config)
    note = "" if plan is None else cache_refusal(plan)
    if plan is not None and not note:
        try:
            return _feature_inputs(plan, classes, heartbeat)
        except CacheFullError:  # other processes have filled the disk meanwhile
            note = _refusal(plan, f"and the disk of {plan.directory} became full while they were written")
    data = ImageDataModule(config.data, config.optim.step_images, config.seed, config.optim.balanced_sampler)
    torch.manual_seed(config.seed)  # after the data, which must not depend on the seed
    return TrainingInputs(data, build_network(config, len(classes)), note)


def _feature_inputs(plan: FeaturePlan, classes: tuple[str, ...], heartbeat: Callable[[], None]) -> TrainingInputs:
    train, val = open_features(plan, heartbeat)
    config = plan.config
    torch.manual_seed(config.seed)
    optim = config.optim
    data = FeatureDataModule(train, val, classes, optim.step_images, config.seed, optim.balanced_sampler)
    return TrainingInputs(data, trainable_stages(plan.network))


def cache_refusal(plan: FeaturePlan) -> str:
    """Why features cannot be kept, so that each image passes the frozen stages in each epoch; "" if they can.

    >>> backbone = {"backbone": "mobilenet_v2", "strategy": "freeze_all", "weights": "none", "max_feature_gb": 0.001}
    >>> training = {"data": "digits", "image_size": 8, "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2}
    >>> cache_refusal(plan_features(TrialConfig.from_params(backbone | training | {"precision": "32-true"})))
    'trained through the frozen stages in every epoch: their features take 7.4 MB, more than --max-feature-gb 0.001'
    """
    model = plan.config.model
    assert isinstance(model, BackboneConfig)
    if plan.bytes > model.max_feature_gb * 1e9:
        reason = f"more than --max-feature-gb {model.max_feature_gb:g}"
    elif plan.missing_bytes > (free := free_bytes(plan.directory)):
        reason = f"and the disk of {plan.directory} has {decimal(free)} free"
    else:
        return ""
    return _refusal(plan, reason)


def _refusal(plan: FeaturePlan, reason: str) -> str:
    return f"trained through the frozen stages in every epoch: their features take {decimal(plan.bytes)}, {reason}"
