"""Which trials of a search keep the features of their frozen stages: known before the search begins."""

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.search.sample import Categorical

from analysis.wording import counted
from inat.config.backbones import FREEZE_ALL, UNFREEZE_ALL
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.tuning.space import backbone_checks, domains

# The hyperparameters that alter images after the features would have been made of them, and what they are called.
ALTERING = {"mixup_alpha": "mixup", "cutmix_alpha": "CutMix", "random_erasing": "random erasing"}


def altering_share(config: SearchConfig, space: Mapping[str, Any], strategy: str) -> float:
    """The share of the trials with ``strategy`` that alter their images, so that they cannot keep features.

    Mixup of a training of the head mixes features instead.
    """
    names = [name for name in ALTERING if not (name == "mixup_alpha" and strategy == FREEZE_ALL)]
    return 1 - math.prod(1 - _share_above_zero(config, space, name) for name in names)


def _share_above_zero(config: SearchConfig, space: Mapping[str, Any], name: str) -> float:
    if name not in space:
        return float(config.trial_settings().get(name, 0) > 0)
    values = domains.boundary_values(space[name])
    if not isinstance(space[name], Categorical):
        return float(max(values) > 0)
    above: int = sum(value > 0 for value in values)
    return above / len(values)


def describe_altering(config: SearchConfig, space: Mapping[str, Any]) -> str:
    """Say which trials train through their frozen stages, as they alter images; "" if none does."""
    if not isinstance(config, FinetuneConfig) or not config.views:
        return ""
    frozen = [s for s in backbone_checks.choices(space, "strategy") if s != UNFREEZE_ALL]
    slow = {strategy: share for strategy in frozen if (share := altering_share(config, space, strategy)) > 0}
    if not slow:
        return ""
    parts = ", ".join(f"{strategy} ({share:.0%} of the trials)" for strategy, share in slow.items())
    used = [word for name, word in ALTERING.items() if _share_above_zero(config, space, name)]
    return (
        f"slow    {' and '.join(used)} {'alters' if len(used) == 1 else 'alter'} photos, so these trials train through "
        f"the frozen stages in every epoch: {parts}"
    )


def form_in_words(views: int, fewer: int, halved: bool) -> str:
    """Describe features that are kept in a smaller form: in 16 bit, in fewer views; "" for neither."""
    parts = [f"{counted(fewer, 'view')} of {views}"] if fewer < views else []
    return ", ".join(parts + ["16 bit"] * halved)
