"""Checks of a frozen dataclass's fields, each of which returns messages, so that every mistake is said at once."""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

from inat.errors import ConfigError

WORDS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "text", NoneType: "None"}


def raise_if_any(problems: list[str]) -> None:
    """Raise one ConfigError that lists all ``problems``, each once, if there are any."""
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def type_errors(config: Any) -> list[str]:
    """One message for each field whose value is not of its annotated type; 32.0 is no whole number, True no number."""
    return [
        f"{f.name} must be {' or '.join(WORDS[kind] for kind in _kinds(f.type))}, got {getattr(config, f.name)!r}"
        for f in dataclasses.fields(config)
        if not has_type(config, f.name)
    ]


def has_type(config: Any, name: str) -> bool:
    """Whether the named field's value is of its annotated type; other types than those of WORDS are not looked at."""
    kinds = _kinds(next(f.type for f in dataclasses.fields(config) if f.name == name))
    return not kinds.keys() <= WORDS.keys() or any(_is(getattr(config, name), kind) for kind in kinds)


def _kinds(annotation: Any) -> dict[Any, None]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return dict.fromkeys(get_args(annotation) if isinstance(annotation, UnionType) else (annotation,))


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, kind)


def positive_errors(config: Any, *names: str) -> list[str]:
    """One message for each named field whose number is not above zero; ``type_errors`` tells of what is no number."""
    numbers = {name: getattr(config, name) for name in names if has_type(config, name)}
    return [f"{name} must be positive, got {value}" for name, value in numbers.items() if not value > 0]


def non_negative_errors(config: Any, *names: str) -> list[str]:
    """One message for each named field whose number is below zero; ``type_errors`` tells of what is no number."""
    numbers = {name: getattr(config, name) for name in names if has_type(config, name)}
    return [f"{name} must not be negative, got {value}" for name, value in numbers.items() if value < 0]


def range_errors(config: Any, name: str, low: float, high: float) -> list[str]:
    """A message if the named field is a number, but not in [low, high)."""
    value = getattr(config, name)
    inside = not has_type(config, name) or low <= value < high
    return [] if inside else [f"{name} must be in [{low:g}, {high:g}), got {value}"]


def choice_errors(config: Any, name: str, known: Sequence[str]) -> list[str]:
    """A message if the named field is a text, but none of the ``known`` ones."""
    value = getattr(config, name)
    fine = not has_type(config, name) or value in known
    return [] if fine else [f"unknown {name} {value!r}; choose from {', '.join(known)}"]


def unknown_name_error(name: Any, known: set[str]) -> str:
    """A message for a name that nothing reads, with the closest known one or all of them."""
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
    return f"unknown hyperparameter {name!r}; {hint}"


def build_part(part: type, params: Mapping[str, Any]) -> Any:
    """Build one nested dataclass from its fields' entries in ``params``; ConfigError if one is missing."""
    fields = dataclasses.fields(part)
    required = [f.name for f in fields if f.default is dataclasses.MISSING]
    raise_if_any([f"{name} is missing" for name in required if name not in params])
    return part(**{f.name: params[f.name] for f in fields if f.name in params})


def pooling_errors(conv_layers: int, image_size: int) -> list[str]:
    """A message if ``conv_layers`` halvings leave less than one pixel of ``image_size``."""
    if conv_layers < image_size.bit_length():
        return []
    least = str(2**conv_layers) if conv_layers < 64 else f"2**{conv_layers}"
    return [
        f"conv_layers={conv_layers} halves the image {conv_layers} times and needs at least {least} px, "
        f"but image_size is {image_size}"
    ]
