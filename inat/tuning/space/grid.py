"""Every combination of a space's choices, in an order that does the work of frozen stages once a machine."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune.search.sample import Categorical

from inat.config.trial import active_params, feature_group
from inat.errors import ConfigError
from inat.study.trial import Trial

Params = Mapping[str, Any]
MOST = 20_000  # combinations that are listed


def grid_of(space: Params) -> list[dict[str, Any]]:
    """All combinations, the last hyperparameter varying fastest; those that differ in nothing that is in use, once.

    Raises ConfigError for a hyperparameter that is a range, and for more than MOST combinations.
    """
    ranges = [name for name, domain in space.items() if not isinstance(domain, Categorical)]
    if ranges:
        raise ConfigError(f"a grid needs choices, and {ranges[0]} is a range; list its values or take --searcher tpe")
    count = math.prod(len(domain.categories) for domain in space.values())
    if count > MOST:
        raise ConfigError(f"a grid over this space has {count:,} combinations; take --searcher tpe or a smaller space")
    found: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(domain.categories for domain in space.values())):
        params = dict(zip(space, values, strict=True))
        found.setdefault(params_key(params), params)
    return list(found.values())


def params_key(params: Params) -> str:
    """Equal for two configurations that train the same network in the same way."""
    return json.dumps(active_params(params), sort_keys=True, default=str)


def next_grid_params(left: Iterable[Params], trials: Iterable[Trial], node: str) -> Params:
    """Which of the configurations that are left a slot of ``node`` runs: the first that reads features kept there.

    If there is none, the first whose features no machine has; at last one that another machine has, too. A trial that
    has not reported yet is taken to run on ``node`` as long as no other machine is known.
    """
    trials = list(trials)
    alone = {trial.node for trial in trials} <= {node, ""}
    homes: dict[Any, set[str]] = {}
    for trial in trials:
        homes.setdefault(feature_group(trial.params), set()).add(node if alone else trial.node)

    def distance(params: Params) -> int:
        group = feature_group(params)
        if group is None or group not in homes:
            return 1
        return 0 if node in homes[group] else 2

    return min(left, key=distance)  # the first of equals
