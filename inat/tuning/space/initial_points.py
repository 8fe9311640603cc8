"""Configurations that a search tries before all others: the user's own, or the best of another study."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Domain

from inat.config.validation import raise_if_any, unknown_name_error
from inat.errors import ConfigError
from inat.tuning.space.domains import domain_to_text, to_domain_value


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
    problems: dict[str, None] = {}  # in order, each once
    start = [_known(item, space, problems) for item in found]
    raise_if_any([f"{path}: {message}" for message in problems])
    return start


def _params(item: Any) -> Any:
    return item["params"] if isinstance(item, dict) and isinstance(item.get("params"), dict) else item


def _known(params: Mapping[str, Any], space: Mapping[str, Domain], problems: dict[str, None]) -> dict[str, Any]:
    """``params`` with each value as the space has it; what it does not have is added to ``problems``."""
    known = {}
    for name, value in params.items():
        if name not in space:
            problems[unknown_name_error(name, set(space))] = None
            continue
        try:
            known[name] = to_domain_value(space[name], value)
        except (ValueError, TypeError, OverflowError):
            problems[f"{name} {value!r} is outside the space ({domain_to_text(space[name])})"] = None
    return known
