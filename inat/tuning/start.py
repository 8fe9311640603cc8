"""Configurations that a search tries before all others: the user's own, or the best of another study."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Domain

from inat.config import refuse, unknown_name
from inat.errors import ConfigError


def read_start(path: Path | None, space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """The configurations in a JSON file: one object, a list of them, or a best.json; none for None.

    A configuration may leave hyperparameters out, which are then sampled. Raises ConfigError, with every mistake, for
    unknown names and for values outside ``space``.
    """
    if path is None:
        return []
    try:
        content = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--start-from {path} cannot be read ({error}); pass a JSON file") from error
    found = [_params(item) for item in (content if isinstance(content, list) else [content])]
    if not all(isinstance(item, dict) for item in found):
        raise ConfigError(f"--start-from {path} must hold an object of hyperparameters, or a list of them")
    problems = [f"{path}: {message}" for item in found for message in _mistakes(item, space)]
    refuse(list(dict.fromkeys(problems)))
    return found


def _params(item: Any) -> Any:
    return item["params"] if isinstance(item, dict) and isinstance(item.get("params"), dict) else item


def _mistakes(params: Mapping[str, Any], space: Mapping[str, Domain]) -> list[str]:
    unknown = [unknown_name(name, set(space)) for name in params if name not in space]
    outside = [
        f"{name} {value!r} is outside the space ({space[name].domain_str})"
        for name, value in params.items()
        if name in space and not _within(space[name], value)
    ]
    return unknown + outside


def _within(domain: Domain, value: Any) -> bool:
    try:
        return bool(domain.is_valid(value))
    except TypeError:
        return False
