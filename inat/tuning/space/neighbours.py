"""Configurations near the recipe, which a search tries after it."""

import random
from collections.abc import Mapping
from typing import Any, Final

from inat.tuning.space.domains import boundary_values

FREED: Final = 2  # hyperparameters of a neighbour that the sampler draws


def neighbours(recipe: Mapping[str, Any], space: Mapping[str, Any], count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` configurations of ``space`` that leave out FREED hyperparameters of ``recipe`` each.

    The sampler draws what is left out. In turn, each hyperparameter that has several values is left out about equally
    often. Empty if the space has fewer of them than FREED.

    >>> from ray import tune
    >>> space = {"lr": tune.loguniform(0.01, 0.1), "width": tune.choice([32, 64]), "depth": tune.choice([2])}
    >>> neighbours({"lr": 0.03, "width": 32, "depth": 2}, space, count=2, seed=0)
    [{'depth': 2}, {'depth': 2}]
    """
    free = sorted(name for name, domain in space.items() if name in recipe and len(set(boundary_values(domain))) > 1)
    if len(free) < FREED:
        return []
    generator, waiting = random.Random(seed), list[str]()
    found = list[dict[str, Any]]()
    for _ in range(count):
        if len(waiting) < FREED:
            rest = [name for name in free if name not in waiting]
            waiting += generator.sample(rest, len(rest))
        left_out, waiting = waiting[:FREED], waiting[FREED:]
        found.append({name: value for name, value in recipe.items() if name not in left_out})
    return found
