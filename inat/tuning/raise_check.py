"""Whether the most epochs per trial of a study may be raised: longer trainings must begin with the same epochs."""

import shlex
from collections.abc import Mapping
from typing import Any

from inat.config.backbones import LP_FT
from inat.config.optim import STEP
from inat.config.search import SearchConfig
from inat.constants import OWN_OBJECTIVE, RACE, TIME_PLAN
from inat.errors import ConfigError
from inat.tuning.space.backbone_checks import choices


def check_raise(info: Mapping[str, Any], config: SearchConfig, space: Mapping[str, Any]) -> None:
    """Raise ConfigError if ``config`` raises the maximum of the epochs in the study with this ``info``, and cannot.

    Longer trainings must begin with the same epochs as the shorter ones of the study.
    """
    before = info.get("config", {}).get("max_epochs")
    if not isinstance(before, int) or config.max_epochs <= before:
        return
    if reason := _reason_against(info, config, space):
        learns = config.searcher not in ("random", "grid")
        command = (
            f"; --learn-from {shlex.quote(str(config.resume))} takes its best configurations over" if learns else ""
        )
        raise ConfigError(
            f"max_epochs {config.max_epochs} cannot follow the study's {before}: {reason}; leave it out, or start a "
            f"new study{command}"
        )


def _reason_against(info: Mapping[str, Any], config: SearchConfig, space: Mapping[str, Any]) -> str:
    schedules = [name for name in choices(space, "schedule") if name != STEP]
    if info.get(TIME_PLAN):
        return "its time budget has planned the epochs"
    if info.get(RACE):
        return "the race has chosen its backbones for these epochs"
    if info.get(OWN_OBJECTIVE):
        return f"the objective {info[OWN_OBJECTIVE]} decides itself how long a trial is"
    if config.trainings > 1:
        return "with folds or repeats, the next training of a trial begins where the one before has ended"
    if schedules:
        return f"the {schedules[0]} schedule ends with the last epoch, so a longer training differs from its start on"
    if LP_FT in choices(space, "strategy"):
        return f"{LP_FT} trains the head for a share of the epochs, so a longer training differs from its start on"
    if config.model is not None and _is_module(config):
        return f"the LightningModule of {config.model} may have a schedule that ends with the last epoch"
    return ""


def _is_module(config: SearchConfig) -> bool:
    from inat.tuning.space.own_space import code_named_by  # loads torch, which other searches do without

    return code_named_by(config).is_module
