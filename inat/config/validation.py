"""Checks of the fields of a frozen dataclass. Each returns messages, so that one error can list all mistakes."""

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from inat.constants import TORCHVISION
from inat.errors import ConfigError

WORDS = {
    int: "a whole number", float: "a finite number", bool: "True or False", str: "text", NoneType: "None",
    Path: "a path", tuple: "a list",
}  # fmt: skip
MAX_INT = 2**63 - 1
LEAST_GPU_SHARE = 0.01  # Ray counts in 1/10,000, and takes less for nothing
MAX_IMAGE_SIZE = 4096  # px; a batch of 32 images of this side has 6 GB before the first layer


def expanded(path: str | Path) -> Path:
    """The path with ~ replaced by a home folder; ConfigError for the home of nobody, and for a path that is none."""
    if "\0" in str(path):
        raise ConfigError(f"{str(path)!r} has a NUL character, which no path can have; write another one")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path} begins with the home of an unknown user; write the path in full") from error


def raise_if_any(problems: list[str]) -> None:
    """Raise a ConfigError with all ``problems``, each once; do nothing if there are none."""
    if problems:
        raise ConfigError(*dict.fromkeys(problems))


def type_errors(config: Any) -> list[str]:
    """A message for each field whose value is not of the annotated type; 32.0 is not an int, True is not a number."""
    wrong = [f for f in dataclasses.fields(config) if not has_type(config, f.name)]
    return [_type_error(f.name, _kinds(f.type), getattr(config, f.name)) for f in wrong]


def _type_error(name: str, kinds: Mapping[Any, None], value: Any) -> str:
    if known := [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]:
        return f"unknown {name} {value!r}; choose from {', '.join(known)}"
    if type(value) is int and not kinds.keys().isdisjoint((int, float)):
        return f"{name} must be a number of up to 18 digits, got {value!r:.80}"
    words = " or ".join(WORDS[get_origin(kind) or kind] for kind in kinds)
    return f"{name} must be {words}, got {value!r:.80}"


def has_type(config: Any, name: str) -> bool:
    """Whether the value of the field ``name`` has its annotated type; a type that is not in WORDS is not checked."""
    kinds = _kinds(next(f.type for f in dataclasses.fields(config) if f.name == name))
    checked = all(kind in WORDS or get_origin(kind) in (Literal, tuple) for kind in kinds)
    return not checked or any(_is(getattr(config, name), kind) for kind in kinds)


def _kinds(annotation: Any) -> dict[Any, None]:
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return {kind: None for part in get_args(annotation) for kind in _kinds(part)}
    return {annotation: None}


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is(item, get_args(kind)[0]) for item in value)
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return kind in (int, float) and abs(value) <= MAX_INT
    if kind is float:
        return isinstance(value, float) and math.isfinite(value)
    return isinstance(value, kind)


def positive_errors(config: Any, *names: str) -> list[str]:
    """A message for each named field whose number is not above zero; ``type_errors`` reports other types."""
    numbers = {name: getattr(config, name) for name in names if has_type(config, name)}
    return [f"{name} must be positive, got {value}" for name, value in numbers.items() if not value > 0]


def non_negative_errors(config: Any, *names: str) -> list[str]:
    """A message for each named field whose number is below zero; ``type_errors`` reports other types."""
    numbers = {name: getattr(config, name) for name in names if has_type(config, name)}
    return [f"{name} must not be negative, got {value}" for name, value in numbers.items() if value < 0]


def range_errors(config: Any, name: str, low: float, high: float) -> list[str]:
    """A message if the field ``name`` is a number outside [low, high)."""
    value = getattr(config, name)
    valid = not has_type(config, name) or low <= value < high
    return [] if valid else [f"{name} must be in [{low:g}, {high:g}), got {value}"]


def gpu_share_errors(config: Any, name: str) -> list[str]:
    """A message if the field ``name`` is a number that is no share of one GPU; None lets the search choose."""
    share = getattr(config, name)
    if share is None or not has_type(config, name) or share == 0 or LEAST_GPU_SHARE <= share <= 1:
        return []
    if share < 0:
        return [
            f"{name} must not be negative, got {share:g}; pass 0 for the CPUs, 0.5 for two trials on each GPU, or 1"
        ]
    if share < 1:
        return [f"{name} {share:g} is too small a share, because each trial needs memory of its own; pass 0.1, or 0"]
    return [f"{name} must be at most 1, got {share:g}: a trial trains on one GPU; pass 1, or 0.5 for two on each GPU"]


def choice_errors(config: Any, name: str, known: Sequence[str]) -> list[str]:
    """A message if the field ``name`` is a string that is not in ``known``."""
    value = getattr(config, name)
    valid = not has_type(config, name) or value in known
    return [] if valid else [f"unknown {name} {value!r}; choose from {', '.join(known)}"]


def pattern_errors(config: Any, name: str) -> list[str]:
    """A message if the field ``name`` is a text that is no regular expression."""
    try:
        re.compile(getattr(config, name) if has_type(config, name) else "")
    except re.error as error:
        return [f"{name} {getattr(config, name)!r} is no regular expression: {error}"]
    return []


def torchvision_errors(data: str, root: str) -> list[str]:
    """A message if a data set of torchvision comes without its folder, or a folder without such a data set."""
    named = data.startswith(TORCHVISION)
    if named and not root:
        return [
            f"root is missing: --data {data} needs --root, the folder that holds it, or that --download puts it into"
        ]
    return [f"root {root} needs a data set such as --data {TORCHVISION}CIFAR10"] if root and not named else []


def unknown_name_error(name: Any, known: set[str]) -> str:
    """A message for an unknown hyperparameter, with the closest known name or with all of them."""
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
    return f"unknown hyperparameter {name!r}; {hint}"


def build_part(part: type, params: Mapping[str, Any]) -> Any:
    """A ``part`` of TrialConfig from the entries of ``params`` for its fields; ConfigError if one is missing."""
    fields = dataclasses.fields(part)
    required = [f.name for f in fields if f.default is dataclasses.MISSING]
    raise_if_any([f"{name} is missing" for name in required if name not in params])
    return part(**{f.name: params[f.name] for f in fields if f.name in params})


def pooling_errors(conv_layers: int, image_size: int) -> list[str]:
    """A message if halving ``image_size`` ``conv_layers`` times leaves less than one pixel."""
    if conv_layers < image_size.bit_length():
        return []
    least = str(2**conv_layers) if conv_layers < 64 else f"2**{conv_layers}"
    return [
        f"conv_layers={conv_layers} halves the image {conv_layers} times and needs at least {least} px, "
        f"but image_size is {image_size}"
    ]
