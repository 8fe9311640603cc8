"""The stages of a user's own network: those that the default of --k-layers asks for and the network does not have."""

from dataclasses import replace
from typing import TypeVar

from inat.config.backbones import FREEZE_PARTIAL, FULL_STRATEGIES
from inat.config.finetune import DEFAULT_K_LAYERS, FinetuneConfig
from inat.config.own_model import OwnModelConfig
from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig

Config = TypeVar("Config", bound=SearchConfig)
CLASSES = 2  # the number of stages does not depend on it


def with_fitting_stages(config: Config) -> Config:
    """``config`` without the default values of --k-layers for which its own network has too few stages.

    If none fits, freeze_partial is left out, unless somebody has asked for it. The file of the network, which the user
    has named, runs; ConfigError if it cannot be used.
    """
    # That very tuple: nobody has chosen it.
    if not isinstance(config, FinetuneConfig) or config.model is None or config.k_layers is not DEFAULT_K_LAYERS:
        return config
    if FREEZE_PARTIAL not in config.strategies:
        return config
    body = _stages_before_head(config)
    fitting = tuple(k for k in config.k_layers if body is None or k < body)
    if len(fitting) == len(config.k_layers):
        return config
    if fitting:
        return replace(config, k_layers=fitting)
    others = tuple(strategy for strategy in config.strategies if strategy != FREEZE_PARTIAL)
    return replace(config, strategies=others) if config.strategies is FULL_STRATEGIES else config


def _stages_before_head(config: FinetuneConfig) -> int | None:
    """The number of stages before the head; None if the space of ``config`` is not about its --k-layers."""
    import torch  # other searches check their options without it

    from inat.models.own_code import allow_named
    from inat.models.own_model import as_stages, build_own
    from inat.tuning.space.domains import boundary_values
    from inat.tuning.space.own_space import code_named_by
    from inat.tuning.space.presets import space_of

    allow_named(config.model)
    code, space = code_named_by(config), space_of(config)
    if "strategy" not in space or list(space["k_layers"].categories) != list(config.k_layers):
        return None
    first = {name: boundary_values(domain)[0] for name, domain in space.items()}
    trial = TrialConfig.from_params({**config.trial_settings(), **first})
    assert isinstance(trial.model, OwnModelConfig)
    with torch.random.fork_rng(devices=[]):
        network = build_own(trial.model, trial.data.image_size, CLASSES, trial.optim)
    return len(as_stages(network, code)) - 1
