"""What a search over pretrained backbones makes sure of before Ray starts."""

from collections.abc import Iterable, Mapping
from typing import Any

from inat.config.backbones import BACKBONE_FACTS, FREEZE_PARTIAL, IMAGENET, BackboneConfig
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.validation import raise_if_any
from inat.data.splits import DataSummary
from inat.errors import ConfigError, StudyError
from inat.tuning.space import domains

WEIGHTS = "weights"  # in study.json: SHA-256 of each backbone's


def choices(space: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """The values that hyperparameter ``name`` may take; none if the space does not have it."""
    return tuple(domains.all_values(space[name])) if name in space else ()


def image_sizes(config: SearchConfig, space: Mapping[str, Any]) -> list[int]:
    """Sides in pixels of the images that trials see: one, or those of the backbones, ascending."""
    if isinstance(config, FinetuneConfig) and config.image_size is None:
        return sorted({BACKBONE_FACTS[name].image_size for name in choices(space, "backbone")})
    return [config.resolved_image_size]


def check_backbones(config: SearchConfig, space: Mapping[str, Any], data: DataSummary) -> dict[str, str]:
    """SHA-256 of the weights of each backbone in ``space``, which are downloaded if need be, read and tried on.

    Raises ConfigError, with every mistake: stages that a backbone does not have, sizes it cannot take, weights that
    cannot be had or are another network's.
    """
    problems: list[str] = []
    found: dict[str, str] = {}
    for backbone in choices(space, "backbone"):
        try:
            _check_stages(backbone, space)
            found[backbone] = _check_weights(config, backbone, len(data.classes))
        except ConfigError as error:
            problems += error.problems
    raise_if_any(problems)
    return found


def _check_stages(backbone: str, space: Mapping[str, Any]) -> None:
    if FREEZE_PARTIAL in choices(space, "strategy"):
        for k_layers in choices(space, "k_layers"):
            BackboneConfig(backbone=backbone, strategy=FREEZE_PARTIAL, k_layers=k_layers)


def _check_weights(config: SearchConfig, backbone: str, num_classes: int) -> str:
    from inat.models.backbones import build_backbone  # loads torch, which the search itself does without
    from inat.models.weights import find_weights, load_weights

    assert isinstance(config, FinetuneConfig)
    size = config.image_size or BACKBONE_FACTS[backbone].image_size
    if config.weights != IMAGENET:
        build_backbone(backbone, num_classes, image_size=size)
        return config.weights
    file = find_weights(backbone, config.weights_dir)
    state = load_weights(file.path)
    try:
        build_backbone(backbone, num_classes, image_size=size, state_dict=state)
    except ConfigError as error:
        raise ConfigError(f"{file.path}: {error}") from error
    return file.sha256


def check_unchanged(known: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise StudyError if a backbone's weights are not those that a study began with."""
    changed: Iterable[str] = sorted(name for name in known if known[name] != now.get(name))
    if changed:
        raise StudyError(
            f"the weights of {', '.join(changed)} are not those the study began with; bring those back, "
            "name their folder with --weights-dir, or start a new study"
        )
