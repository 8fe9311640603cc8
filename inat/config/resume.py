"""What --resume and inat.finalize take over from study.json, which somebody else may have written, and what not.

Each option of a search is in exactly one of these groups; ``tests/config/test_resume.py`` fails for a new option that
is in none.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar

from inat.config.search import SearchConfig
from inat.config.validation import raise_if_any
from inat.constants import CACHE_BELOW_HOME, CACHE_DIR
from inat.errors import StudyError
from inat.next_step import as_arguments

Search = TypeVar("Search", bound=SearchConfig)

# They decide what trials mean: taken over, and no other value is allowed. The paths among them are only compared; a
# space that is a Python file counts only if the user names it, as the options in NAMED do.
FIXED: Final = frozenset({
    "image_size", "space", "patience", "grace_period", "reduction_factor", "searcher", "stopped_trials",
    "start_from", "learn_from", "seed", "precision", "compile", "storage_path", "name", "metric", "folds", "repeats",
    "class_weights", "resize", "balanced_sampler", "test_fraction", "group_by", "keep_duplicates", "control_fraction",
    "preset", "backbones", "strategies", "k_layers", "learning_rates", "batch_sizes", "augmentation", "weights",
    "body_lr_factor", "views", "max_feature_gb", "recipe", "grid",
})  # fmt: skip
# Taken over, and the user may give a larger value where longer trainings begin with the same epochs: see
# ``tuning.raised_epochs``.
RAISABLE: Final = frozenset({"max_epochs"})
# They say how many trials run, and how many at a time: taken over, and the user may give another value. The data folder
# is only read and may have moved; its fingerprint shows that the images are the same.
FREE: Final = frozenset({
    "num_samples", "cpus_per_trial", "gpus_per_trial", "max_concurrent", "keep_checkpoints", "max_failures", "data",
    "max_bad_fraction", "max_cache_gb", "cost", "prefer_cheaper", "refit",
    "time_budget", "target", "trial_timeout", "tensorboard", "labels", "root",
})  # fmt: skip
# They name places outside of the study or talk to the network: used only if the user types them. With their defaults as
# study.json has them.
NAMED: Final[Mapping[str, str | None]] = {
    "address": None, "wandb": "off", "weights_dir": None, "cache_dir": str(CACHE_DIR),
    "model": None,  # code; its hash is in study.json, beside "config"
}  # fmt: skip
# What a command does instead of searching, or about itself: never taken from study.json.
ONCE: Final = frozenset({
    "resume", "augment_preview", "plan", "debug", "download", "retry_failed", "config", "save_config",
})  # fmt: skip

NEEDED: Final = ("space", *NAMED)  # may be needed on the command line when a search is resumed
CHANGEABLE: Final = FREE | NAMED.keys() | ONCE  # options that may differ from the study's


def trusted(stored: Search) -> Search:
    """The options of a study without those that somebody else must not choose for the user: these have their defaults.

    ``options_to_name`` lists the ones among them that the user has to type again.
    """
    fields = dataclasses.fields(stored)
    defaults: dict[str, Any] = {f.name: f.default for f in fields if _is_refused(f.name, getattr(stored, f.name))}
    return dataclasses.replace(stored, **defaults)


def _is_refused(name: str, value: Any) -> bool:
    if name in NAMED:
        return (None if value is None else str(value)) != NAMED[name] and not _is_harmless(name, value)
    return name in ONCE or _is_python(name, value)


def _is_harmless(name: str, value: Any) -> bool:
    return name == "wandb" and value == "offline"  # which writes to the study only


def _is_python(name: str, value: Any) -> bool:
    return name == "space" and isinstance(value, str) and value.endswith(".py")


def options_to_name(config: Mapping[str, Any], names: Collection[str] = NEEDED) -> dict[str, str]:
    """Those of ``names`` that --resume needs on the command line, with their values in the ``config`` of study.json.

    >>> options_to_name({"address": "auto", "wandb": "off", "max_epochs": 9})
    {'address': 'auto'}
    """
    found = {name: config[name] for name in names if name in config and _must_be_named(name, config[name])}
    return {name: str(value) for name, value in found.items()}


def _must_be_named(name: str, value: Any) -> bool:
    if name not in NAMED:
        return _is_python(name, value)
    # The default folder of another user or machine is no choice of anybody: this user's default takes its place.
    default = name == "cache_dir" and isinstance(value, str) and PurePath(value).parts[-2:] == CACHE_BELOW_HOME.parts
    return value != NAMED[name] and not default and not _is_harmless(name, value)


def check_named(study: Path, config: Mapping[str, Any], named: Collection[str], names: Collection[str]) -> None:
    """Raise StudyError if only study.json, whose ``config`` is given, chooses those of ``names`` that a user must name.

    ``named`` are the fields of the options that the user typed.
    """
    missing = {name: value for name, value in options_to_name(config, names).items() if name not in named}
    if missing:
        raise StudyError(
            f"{study} names files, folders or servers outside of it, which are used only if you name them, too; add "
            f"{as_arguments(missing)}"
        )


def typed_options(args: Sequence[str]) -> set[str]:
    """The names of the options in the arguments of a command, as fields: ``cache_dir``."""
    words = (text.partition("=")[0] for text in args if text.startswith("--"))
    return {word.removeprefix("--").replace("-", "_") for word in words}


def check_resumable(stored: SearchConfig, wanted: SearchConfig) -> None:
    """Raise ConfigError if ``wanted`` would make new trials incomparable with those of the study ``stored``."""
    before, now = stored.resolved(), wanted.resolved()
    raised = {name for name in RAISABLE if getattr(now, name) > getattr(before, name)}
    names = [f.name for f in dataclasses.fields(stored) if f.name not in CHANGEABLE | raised]
    raise_if_any([
        f"--{n.replace('_', '-')} {getattr(now, n)} differs from the study's {getattr(before, n)}; leave it out or "
        "start a new study"
        for n in names if getattr(now, n) != getattr(before, n)
    ])  # fmt: skip
    least, most = (math.inf if config.num_samples is None else config.num_samples for config in (stored, wanted))
    if most < least:
        raise_if_any(
            [f"--num-samples {wanted.num_samples} is below the study's {stored.num_samples}; it may only be raised"]
        )
