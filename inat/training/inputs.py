"""What a training works on: images and the whole network, or kept features and the stages that train."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.filesize import decimal
from torch import nn

from inat.config.trial import BackboneConfig, TrialConfig
from inat.data.datamodule import FeatureDataModule, ImageDataModule
from inat.data.image_store_builder import free_bytes
from inat.data.splits import load_splits
from inat.errors import CacheFullError
from inat.models.factory import build_network, trainable_stages
from inat.models.frozen_features import FeaturePlan, open_features, plan_features


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network with the data it takes, and what the user should know of the choice."""

    data: ImageDataModule | FeatureDataModule
    net: nn.Module
    note: str = ""


def prepare(config: TrialConfig, heartbeat: Callable[[], None] = lambda: None) -> Prepared:
    """Data and network of a trial; features of frozen stages are computed now if nobody has done it yet.

    That may take hours: ``heartbeat`` is called again and again meanwhile.
    """
    classes = load_splits(config.data).classes
    plan = plan_features(config)
    note = "" if plan is None else cache_refusal(plan)
    if plan is not None and not note:
        try:
            return _on_features(plan, classes, heartbeat)
        except CacheFullError:  # others have written meanwhile
            note = _not_kept(plan, f"and the disk of {plan.directory} became full while they were written")
    data = ImageDataModule(config.data, config.optim.batch_size, config.seed)
    torch.manual_seed(config.seed)  # behind the data, which must not depend on it
    return Prepared(data, build_network(config, len(classes)), note)


def _on_features(plan: FeaturePlan, classes: tuple[str, ...], heartbeat: Callable[[], None]) -> Prepared:
    train, val = open_features(plan, heartbeat)
    config = plan.config
    torch.manual_seed(config.seed)
    features = FeatureDataModule(train, val, classes, config.optim.batch_size, config.seed)
    return Prepared(features, trainable_stages(plan.network))


def cache_refusal(plan: FeaturePlan) -> str:
    """Why the features are not kept and every photo goes through the frozen stages in every epoch; "" if they are."""
    model = plan.config.model
    assert isinstance(model, BackboneConfig)
    if plan.bytes > model.max_feature_gb * 1e9:
        reason = f"more than --max-feature-gb {model.max_feature_gb:g}"
    elif plan.missing_bytes > (free := free_bytes(plan.directory)):
        reason = f"and the disk of {plan.directory} has {decimal(free)} free"
    else:
        return ""
    return _not_kept(plan, reason)


def _not_kept(plan: FeaturePlan, reason: str) -> str:
    return f"trained through the frozen stages in every epoch: their features take {decimal(plan.bytes)}, {reason}"
