"""The rules by which the trials of a study compute: study.json names them, so that an earlier study keeps its own.

A study of an earlier version has no entry: "auto" is then the precision of the hardware, features are kept as they
were then, and the statistics of batch norms are averaged like the weights.
"""

from collections.abc import Mapping
from typing import Any, Final

from inat.config.backbones import POOLS_KEEP_LAYOUT
from inat.config.finetune import FinetuneConfig
from inat.config.optim import AVERAGED
from inat.config.search import SearchConfig

RULES: Final = "rules"  # in study.json
PRECISION_RULE: Final = "precision_rule"  # there, and in the settings of a trial
FEATURE_RULES: Final = "feature_rules"  # the same; a field of BackboneConfig
STATISTICS_RULE: Final = "ema_statistics"  # the same; a field of OptimConfig
MEASURED: Final = "measured"


def new_rules() -> dict[str, Any]:
    """The rules of a new study."""
    return {PRECISION_RULE: MEASURED, FEATURE_RULES: POOLS_KEEP_LAYOUT, STATISTICS_RULE: MEASURED}


def rule_settings(config: SearchConfig, info: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the rules of the study with this ``info`` add to those of its trials."""
    rules = info.get(RULES, {})
    names = (PRECISION_RULE, *([FEATURE_RULES] if isinstance(config, FinetuneConfig) else []))
    known = {name: rules[name] for name in names if name in rules}
    return known | {STATISTICS_RULE: rules.get(STATISTICS_RULE, AVERAGED)}
