"""The networks of timm that a race tries beside torchvision's, as far as their weights are at hand."""

from dataclasses import replace

from inat.config.backbones import FREEZE_PARTIAL, IMAGENET
from inat.config.finetune import FinetuneConfig
from inat.config.race import RACES
from inat.errors import ConfigError
from inat.models.backbones import stage_names
from inat.models.weights import find_weights
from inat.tuning.racing.probing import PrintLine


def with_timm_candidates(config: FinetuneConfig, print_line: PrintLine, skipped: dict[str, str]) -> FinetuneConfig:
    """``config`` with those networks of timm of its preset that fit its options and whose weights are found.

    Nothing is added if the user has named backbones. Weights are downloaded if they are not on this node; after the
    first failure no other download is tried. The others are printed in one line and added to ``skipped``.
    """
    if config.preset is None or config.backbones != config.default_candidates():
        return config
    found: list[str] = []
    missing: dict[str, str] = {}
    for name in config.fitting(RACES[config.preset].timm):
        if not _has_stages(config, name):
            continue
        try:
            if config.weights == IMAGENET:
                find_weights(name, config.weights_dir, download=not missing)
            found.append(name)
        except ConfigError as error:
            missing[name] = str(error)
    if missing:
        print_line(f"skipped {', '.join(missing)}: {next(iter(missing.values()))}")
        skipped |= missing
    return replace(config, backbones=(*config.backbones, *found)) if found else config


def _has_stages(config: FinetuneConfig, name: str) -> bool:
    return FREEZE_PARTIAL not in config.strategies or max(config.k_layers) < len(stage_names(name))
