"""The inputs of a training: images and the whole network, or kept features and the stages that train."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.filesize import decimal
from torch import nn

from inat.config.backbones import BackboneConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.trial import TrialConfig
from inat.data.cache_room import make_room, reserve_bytes
from inat.data.datamodule import FeatureDataModule, ImageDataModule
from inat.data.disk import free_bytes
from inat.data.splits import load_splits
from inat.errors import CacheFullError
from inat.models.factory import build_network, trainable_stages
from inat.models.feature_layout import FeaturePlan, why_not_kept
from inat.models.frozen_features import open_features, plan_features, release_features, smaller_plans
from inat.training.checkpoint import has_frozen_stages

CLASSIC = "trained through the frozen stages in every epoch"


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
    if plan is None:
        note = ruled_out(config)
    else:
        kept, note = _plan_that_fits(plan)
        if kept is not None:
            try:
                return _feature_inputs(kept, classes, heartbeat, note)
            except CacheFullError:  # other processes have filled the disk meanwhile
                note = _refusal(kept, f"and the disk of {plan.directory} became full while they were written")
    data = ImageDataModule(config.data, config.optim.step_images, config.seed, config.optim.balanced_sampler)
    torch.manual_seed(config.seed)  # after the data, which must not depend on the seed
    return TrainingInputs(data, build_network(config, len(classes)), note)


def _plan_that_fits(plan: FeaturePlan) -> tuple[FeaturePlan | None, str]:
    """The best form of the features that there is room for, and a note if it is not that of ``plan``; None for none."""
    refusal = ""
    for smaller in smaller_plans(plan):
        reason = cache_refusal(smaller)
        if not reason:
            return smaller, refusal and _reduced(plan, smaller, refusal)
        refusal = refusal or reason
    return None, refusal


def _reduced(plan: FeaturePlan, smaller: FeaturePlan, refusal: str) -> str:
    forms = [f"{smaller.views} of {plan.views} augmented views"] if smaller.views < plan.views else []
    forms += ["16 bit"] if smaller.dtype != plan.dtype else []
    return f"features kept in {' and in '.join(forms)}, {decimal(smaller.bytes)}: {refusal.partition(': ')[2]}"


def ruled_out(config: TrialConfig) -> str:
    """Why no features of the frozen stages can be kept, whatever their size; "" if they can, or if nothing is frozen.

    >>> backbone = {"backbone": "mobilenet_v2", "strategy": "freeze_all", "weights": "none", "mixup_alpha": 0.2}
    >>> training = {"data": "digits", "image_size": 8, "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2}
    >>> ruled_out(TrialConfig.from_params(backbone | training))
    'trained through the frozen stages in every epoch: mixup alters the photos that features would be made of'
    """
    model = config.model
    if not isinstance(model, BackboneConfig) or not has_frozen_stages(model) or not model.views:
        return ""
    altering = why_not_kept(config) or ("mixup" if config.optim.mixup_alpha else "")
    verb = "alter" if " and " in altering else "alters"
    return f"{CLASSIC}: {altering} {verb} the photos that features would be made of" if altering else ""


def _feature_inputs(
    plan: FeaturePlan, classes: tuple[str, ...], heartbeat: Callable[[], None], note: str
) -> TrainingInputs:
    train, val = open_features(plan, heartbeat)
    config = plan.config
    torch.manual_seed(config.seed)
    optim = config.optim
    data = FeatureDataModule(train, val, classes, optim.step_images, config.seed, optim.balanced_sampler)
    return TrainingInputs(data, trainable_stages(plan.network), note)


def cache_refusal(plan: FeaturePlan) -> str:
    """Why features cannot be kept, so that each image passes the frozen stages in each epoch; "" if they can.

    >>> backbone = {"backbone": "mobilenet_v2", "strategy": "freeze_all", "weights": "none", "max_feature_gb": 0.001}
    >>> training = {"data": "digits", "image_size": 8, "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2}
    >>> cache_refusal(plan_features(TrialConfig.from_params(backbone | training | {"precision": "32-true"})))
    'trained through the frozen stages in every epoch: their features take 7.4 MB, more than --max-feature-gb 0.001'
    """
    model = plan.config.model
    assert not isinstance(model, ScratchNetwork)
    if plan.bytes > model.max_feature_gb * 1e9:
        reason = f"more than --max-feature-gb {model.max_feature_gb:g}"
    else:
        reason = _no_room(plan, model.max_cache_gb)
    return reason and _refusal(plan, reason)


def _no_room(plan: FeaturePlan, max_cache_gb: float) -> str:
    """Make room for the missing features; why there is none, "" if there is."""
    missing, cache = plan.missing_bytes, plan.directory
    keep = {part.directory for part in plan.parts}
    if not missing:
        return ""
    release_features()  # those of the last trial of this process
    free = free_bytes(cache)
    if make_room(cache, missing, free, max_cache_gb * 1e9, keep):
        return ""
    if missing + reserve_bytes(cache) <= free:
        limit = f"--max-cache-gb {max_cache_gb:g}"
        if missing > max_cache_gb * 1e9:
            return f"more than {limit}"
        return f"and those that other trials are reading leave no room for them in {limit}"
    kept = "" if missing > free else f", of which {decimal(reserve_bytes(cache))} are kept for checkpoints"
    return f"and the disk of {cache} has {decimal(free)} free{kept}"


def _refusal(plan: FeaturePlan, reason: str) -> str:
    return f"{CLASSIC}: their features take {decimal(plan.bytes)}, {reason}"
