"""Every combination of a space's choices, and the order in which a grid search tries them.

Trials that share frozen stages share the features computed by them. A node keeps the features that it has computed, so
a grid search gives a node the configurations of one group of features before it starts the next group.
"""

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
MAX_COMBINATIONS = 20_000


def grid_of(space: Params) -> list[dict[str, Any]]:
    """List all combinations of the choices in ``space``, the last hyperparameter varying fastest.

    Combinations that differ only in hyperparameters without effect, such as k_layers with freeze_all, are listed once.
    Raises ConfigError for a hyperparameter that is a range, and for more than MAX_COMBINATIONS combinations.
    """
    ranges = [name for name, domain in space.items() if not isinstance(domain, Categorical)]
    if ranges:
        raise ConfigError(f"a grid needs choices, and {ranges[0]} is a range; list its values or take --searcher tpe")
    count = math.prod(len(domain.categories) for domain in space.values())
    if count > MAX_COMBINATIONS:
        raise ConfigError(f"a grid over this space has {count:,} combinations; take --searcher tpe or a smaller space")
    grid: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(domain.categories for domain in space.values())):
        params = dict(zip(space, values, strict=True))
        grid.setdefault(params_key(params), params)
    return list(grid.values())


def params_key(params: Params) -> str:
    """Return a text that is equal for configurations that train the same network in the same way."""
    return json.dumps(active_params(params), sort_keys=True, default=str)


def next_grid_params(untried: Iterable[Params], trials: Iterable[Trial], node: str) -> Params:
    """Choose which of the ``untried`` configurations the node called ``node`` runs next, given the study's ``trials``.

    First choice: a configuration that reads features which ``node`` has. Second: one whose features no node has, or
    that needs none. Last: one whose features only other nodes have. Among equals, the first. A trial without an epoch
    has no node yet; it counts as running on ``node`` as long as no other node is known.
    """
    trials = list(trials)
    only_node = {trial.node for trial in trials} <= {node, ""}
    nodes_with: dict[Any, set[str]] = {}
    for trial in trials:
        nodes_with.setdefault(feature_group(trial.params), set()).add(node if only_node else trial.node)

    def rank(params: Params) -> int:
        group = feature_group(params)
        if group is None or group not in nodes_with:
            return 1
        return 0 if node in nodes_with[group] else 2

    return min(untried, key=rank)
