"""Configurations that a search tries first: the user's own, or the best one of another study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search.sample import Domain

from analysis.files import read_json
from inat.config.validation import expanded, raise_if_any, unknown_name_error
from inat.constants import LAST_TRAINING
from inat.errors import ConfigError
from inat.tuning.space.domains import domain_to_text, nearest_value, to_domain_value


def read_initial_points(path: Path | None, space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """Read configurations from a JSON file: one object, a list of objects, or a best.json. Empty without a file.

    A configuration may leave out hyperparameters; the sampler draws them. Raises ConfigError, with every mistake, for
    unknown names and for values outside ``space``. Only the numbers of a best.json of a last training are moved to the
    nearest value: the recipe has another batch size for the epochs of a last training than in any search.
    """
    if path is None:
        return []
    try:
        content = read_json(expanded(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--start-from {path} cannot be read ({error}); pass a JSON file") from error
    items = [_params_in(item, space) for item in (content if isinstance(content, list) else [content])]
    if not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"--start-from {path} must hold an object of hyperparameters, or a list of them")
    problems: dict[str, None] = {}  # ordered, without repetitions
    points = [_checked(item, space, problems) for item in items]
    raise_if_any([f"{path}: {message}" for message in problems])
    return points


def _params_in(item: Any, space: Mapping[str, Domain]) -> Any:
    """Return the hyperparameters in the content of a best.json; anything else as it is."""
    if not isinstance(item, dict) or not isinstance(params := item.get("params"), dict):
        return item
    if item.get(LAST_TRAINING) is not True:
        return params
    return {name: nearest_value(space[name], value) if name in space else value for name, value in params.items()}


def _checked(params: Mapping[str, Any], space: Mapping[str, Domain], problems: dict[str, None]) -> dict[str, Any]:
    """Convert each value to the type in ``space``; add a message to ``problems`` for each one that is not in it."""
    checked = {}
    for name, value in params.items():
        if name not in space:
            problems[unknown_name_error(name, set(space))] = None
            continue
        try:
            checked[name] = to_domain_value(space[name], value)
        except (ValueError, TypeError, OverflowError):
            problems[f"{name} {value!r} is outside the space ({domain_to_text(space[name])})"] = None
    return checked
