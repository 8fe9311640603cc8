"""Every combination of a space's choices, in an order that does the work of frozen stages once a machine."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ray.tune.search.sample import Categorical

from inat.config import feature_group, in_use
from inat.errors import ConfigError
from inat.trials import Trial

Params = Mapping[str, Any]


def grid_of(space: Params) -> list[dict[str, Any]]:
    """All combinations, the last hyperparameter varying fastest; those that differ in nothing that is in use, once.

    Raises ConfigError for a hyperparameter that is a range.
    """
    ranges = [name for name, domain in space.items() if not isinstance(domain, Categorical)]
    if ranges:
        raise ConfigError(
            f"a grid needs choices, and {', '.join(ranges)} is a range; take --searcher tpe or list values"
        )
    names = list(space)
    every = (
        dict(zip(names, values, strict=True)) for values in itertools.product(*(d.categories for d in space.values()))
    )
    return list({identity(params): params for params in reversed(list(every))}.values())[::-1]


def identity(params: Params) -> str:
    """Equal for two configurations that train the same network in the same way."""
    return json.dumps(in_use(params), sort_keys=True, default=str)


def next_of_grid(left: Sequence[dict[str, Any]], trials: Iterable[Trial], node: str) -> dict[str, Any]:
    """Which of the configurations that are left a slot of ``node`` runs: the first that reads features kept there.

    If there is none, the first whose features no machine has; at last one that another machine has, too.
    """
    homes: dict[Any, set[str]] = {}
    for trial in trials:
        homes.setdefault(feature_group(trial.params), set()).add(trial.node)

    def distance(params: Params) -> int:
        group = feature_group(params)
        if group is None or group not in homes:
            return 1
        return 0 if node in homes[group] else 2

    return min(left, key=distance)  # the first of equals
