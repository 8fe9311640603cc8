"""What a training works on: images and the whole network, or kept features and the stages that train."""

from dataclasses import dataclass

from rich.filesize import decimal
from torch import nn

from inat.config import BackboneConfig, TrialConfig
from inat.data.datamodule import ImageDataModule
from inat.data.featuremodule import FeatureDataModule
from inat.data.splits import load_splits
from inat.models.backbones import frozen_stages
from inat.models.build import build_network, build_parts
from inat.models.features import open_features, sizes_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network with the data it takes, and what the user should know of the choice."""

    data: ImageDataModule | FeatureDataModule
    net: nn.Module
    note: str = ""


def prepare(config: TrialConfig) -> Prepared:
    """Data and network of a trial; features of frozen stages are computed now if nobody has done it yet."""
    # The data first: it may decode photographs, which must not depend on the trial's seed.
    classes = load_splits(config.data).classes
    note = why_classic(config, len(classes))
    if note is None:
        assert isinstance(config.model, BackboneConfig)
        train, val = open_features(config, len(classes))
        _, suffix = build_parts(config.model, config.data.image_size, len(classes))
        return Prepared(FeatureDataModule(train, val, classes, config.optim.batch_size, config.seed), suffix)
    data = ImageDataModule(config.data, config.optim.batch_size, config.seed)
    return Prepared(data, build_network(config, len(classes)), note)


def why_classic(config: TrialConfig, num_classes: int) -> str | None:
    """Why every photo goes through the whole network in every epoch: "" if that goes without saying, None if not."""
    model = config.model
    if not isinstance(model, BackboneConfig) or frozen_stages(model.backbone, model.strategy, model.k_layers) == 0:
        return ""
    if model.views == 0:
        return ""  # as the user wanted it
    needed = sizes_of(config, num_classes).bytes
    if needed <= model.max_feature_gb * 1e9:
        return None
    return (
        f"trained through the frozen stages in every epoch: their features take {decimal(needed)}, "
        f"more than --max-feature-gb {model.max_feature_gb:g}"
    )
