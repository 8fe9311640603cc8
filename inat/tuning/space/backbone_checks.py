"""Checks of a search over pretrained backbones, made before Ray starts."""

from collections.abc import Iterable, Mapping
from typing import Any

from inat.config.backbones import FREEZE_PARTIAL, IMAGENET, BackboneConfig, backbone_facts
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.timm_names import is_timm
from inat.config.validation import raise_if_any
from inat.data.splits import DataSummary
from inat.errors import ConfigError, StudyError
from inat.tuning.space import domains

WEIGHTS = "weights"  # key in study.json: SHA-256 of each backbone's weights


def choices(space: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return the values that the hyperparameter ``name`` may take; empty if the space does not have it."""
    return tuple(domains.all_values(space[name])) if name in space else ()


def image_forms(config: SearchConfig, space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of the images that trials use, ascending by their size in pixels.

    One form for networks without published weights, otherwise those that the backbones in ``space`` were published for.
    """
    if not isinstance(config, FinetuneConfig) or config.model is not None:
        return [{"image_size": config.resolved_image_size}]
    given = {"resize": config.resize} | ({} if config.image_size is None else {"image_size": config.image_size})
    forms = [backbone_facts(name).preprocessing(given) for name in choices(space, "backbone")]
    unique = {tuple(form.values()): form for form in forms}
    return [unique[key] for key in sorted(unique)]


def check_backbones(config: SearchConfig, space: Mapping[str, Any], data: DataSummary) -> dict[str, str]:
    """Check every backbone in ``space`` and return the SHA-256 of its weights, or "none" where training starts without.

    Weights that are missing are downloaded; each file is loaded into its network. Raises ConfigError, with every
    mistake: a k_layers that a backbone does not have, an image size that it cannot take, weights that cannot be found
    or that belong to another network.
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
    if is_timm(backbone):  # its stages are known once it is built
        from inat.models.backbones import frozen_stage_count

        for strategy in choices(space, "strategy"):
            for k_layers in choices(space, "k_layers") if strategy == FREEZE_PARTIAL else [None]:
                frozen_stage_count(backbone, strategy, k_layers)
    if FREEZE_PARTIAL in choices(space, "strategy"):
        for k_layers in choices(space, "k_layers"):
            BackboneConfig(backbone=backbone, strategy=FREEZE_PARTIAL, k_layers=k_layers)


def _check_weights(config: SearchConfig, backbone: str, num_classes: int) -> str:
    from inat.models.backbones import build_backbone  # loads torch, which the search itself does without
    from inat.models.weights import find_weights, load_weights

    assert isinstance(config, FinetuneConfig)
    size = config.image_size or backbone_facts(backbone).image_size
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


def check_weights_unchanged(known: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise StudyError if the weights of a backbone differ from the ones that the study began with."""
    changed: Iterable[str] = sorted(name for name in known if known[name] != now.get(name))
    if changed:
        raise StudyError(
            f"the weights of {', '.join(changed)} differ from the ones that the study began with; restore those, "
            "pass their folder with --weights-dir, or start a new study"
        )
