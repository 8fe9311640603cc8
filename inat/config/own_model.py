"""A network in the user's own Python file: which file, which function in it, and the arguments of one trial.

No code of the file runs here. ``inat/models/own_model.py`` runs it, and only if the user has named the file.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from inat.config.backbones import FREEZE_PARTIAL, FULL_STRATEGIES, UNFREEZE_ALL
from inat.config.own_siblings import read_python, read_siblings
from inat.config.validation import (
    choice_errors,
    expanded,
    has_type,
    non_negative_errors,
    positive_errors,
    raise_if_any,
    type_errors,
)

MODEL, MODEL_SHA256 = "model", "model_sha256"  # fields of OwnModelConfig; a flat dict with the first describes one
BUILD = "build"  # the function that is called if the user names none
GIVEN = ("num_classes", "image_size")  # arguments of the function that are the same for all trials


def split_model(text: str) -> tuple[str, str]:
    """The file and the function that ``my_net.py:function`` names; without a function it is ``build``.

    >>> split_model("nets/my_net.py"), split_model("my_net.py:wide")
    (('nets/my_net.py', 'build'), ('my_net.py', 'wide'))
    """
    file, colon, function = text.rpartition(":")
    return (file, function) if colon and not text.endswith(".py") else (text, BUILD)


def model_errors(config: Any, name: str = MODEL) -> list[str]:
    """A message if the field ``name`` is a text that names no function of a Python file."""
    value = getattr(config, name)
    if value is None or not has_type(config, name):
        return []
    file, function = split_model(value)
    if file.endswith(".py") and function.isidentifier():
        return []
    return [f"{name} {value!r} names no function of a Python file; write my_net.py or my_net.py:function"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A Python file that the user has named, with its content: what runs does not change if the file is edited.

    ``siblings`` are the files of its folder that it imports, by relative path, with their content.
    """

    path: Path
    function: str
    source: bytes
    siblings: tuple[tuple[str, bytes], ...] = ()

    @property
    def label(self) -> str:
        """The names of file and function, without the folder: ``my_net.py:build``."""
        return f"{self.path.name}:{self.function}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the content; with siblings, of the hashes of all files."""
        own = hashlib.sha256(self.source).hexdigest()
        return hashlib.sha256("\n".join([own, *self.sibling_hashes]).encode()).hexdigest() if self.siblings else own

    @property
    def sibling_hashes(self) -> list[str]:
        """For each sibling its SHA-256 and its path, as ``sha256sum`` prints them."""
        return [f"{hashlib.sha256(source).hexdigest()}  {name}" for name, source in self.siblings]

    def settings(self) -> dict[str, str]:
        """The settings that all trials with this network share."""
        return {MODEL: self.label, MODEL_SHA256: self.sha256}


def absolute_model(text: str) -> str:
    """``text`` of the form ``my_net.py:function`` with the absolute path of its file."""
    file, function = split_model(text)
    return f"{expanded(file).absolute()}" + (f":{function}" if text != file else "")


def read_model_file(text: str) -> ModelFile:
    """Read the file that ``my_net.py:function`` names; ConfigError if that is impossible or if it is no Python."""
    file, function = split_model(text)
    path = expanded(file).absolute()
    source = read_python(
        path, "--model names a Python file", f"--model names a Python file with a function {function}()"
    )
    return ModelFile(path, function, source, tuple(read_siblings(path, source).items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnModelConfig:
    """A network of the user: ``model`` names file and function, ``arguments`` are those of one trial.

    A network whose file has a function ``stages()`` may have a ``strategy``, with the same meaning as for a backbone;
    without one the whole network trains as it is. In a flat dict the arguments stand among the other hyperparameters:
    every name that is no setting of the training is one. ``views`` to ``feature_rules``: see BackboneConfig.
    """

    model: str
    model_sha256: str
    arguments: Sequence[tuple[str, Any]] = ()  # a tuple, so that a network is a key of caches
    strategy: str = ""
    k_layers: int | None = None
    body_lr_factor: float = 1.0
    views: int = 4
    max_feature_gb: float = 20.0
    max_cache_gb: float = 0.0
    feature_rules: int = 2

    def __post_init__(self) -> None:
        problems = type_errors(self) + model_errors(self) + positive_errors(self, "body_lr_factor")
        problems += non_negative_errors(self, "views", "max_feature_gb", "max_cache_gb")
        problems += choice_errors(self, "strategy", FULL_STRATEGIES) if self.strategy != "" else []
        if self.strategy == FREEZE_PARTIAL and not (has_type(self, "k_layers") and self.k_layers and self.k_layers > 0):
            problems.append(f"k_layers must be at least 1 for {FREEZE_PARTIAL} of {self.model}, got {self.k_layers}")
        problems += [
            f"{name} must be a number, text, True, False or None, got {value!r:.80}"
            for name, value in self.arguments if not _is_plain(value)
        ]  # fmt: skip
        raise_if_any(problems)

    @property
    def body_rate(self) -> float:
        """The learning rate of the stages before the head, as a multiple of that of the head."""
        return self.body_lr_factor if self.strategy in (FREEZE_PARTIAL, UNFREEZE_ALL) else 1.0

    @property
    def file_name(self) -> str:
        """The name of the file, without its folder."""
        return split_model(self.model)[0]

    @property
    def function(self) -> str:
        """The name of the function."""
        return split_model(self.model)[1]

    def values(self) -> dict[str, Any]:
        """The arguments of the function for this trial."""
        return dict(self.arguments)

    @classmethod
    def from_params(cls, params: Mapping[str, Any], others: set[str]) -> Self:
        """The network in a flat dict; its arguments are all names but its own fields and ``others``."""
        own = OWN_FIELDS & params.keys()
        arguments = tuple((name, params[name]) for name in params if name not in own and name not in others)
        missing: dict[str, Any] = {MODEL_SHA256: ""} if MODEL_SHA256 not in params else {}
        return cls(**missing, **{name: params[name] for name in own}, arguments=arguments)

    def to_params(self) -> dict[str, Any]:
        """The flat dict from which ``from_params`` makes an equal network."""
        return {name: getattr(self, name) for name in sorted(OWN_FIELDS)} | self.values()


OWN_FIELDS = frozenset(OwnModelConfig.__dataclass_fields__) - {"arguments"}


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)
