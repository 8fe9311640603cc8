"""Search spaces as functions that return plain dicts, one line per hyperparameter; or a user's own Python file."""

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical

from inat.config.backbones import FREEZE_PARTIAL
from inat.config.cnn import ACTIVATIONS, BLOCKS, POOLINGS
from inat.config.finetune import FINETUNE, MODERN, FinetuneConfig
from inat.config.optim import COSINE, STEP
from inat.config.search import MODERN_SPACE, SMALL_IMAGE, SearchConfig
from inat.config.trial import TrialConfig
from inat.config.validation import expanded, raise_if_any
from inat.data.splits import DataSummary, inspect_data
from inat.errors import ConfigError
from inat.study.metadata import read_info, require
from inat.tuning.space.domains import (
    as_domain,
    boundary_values,
    domain_errors,
    domain_from_json,
    domain_to_json,
    unusable_space,
)
from inat.tuning.space.names import SET_BY_SEARCH
from inat.tuning.space.recipe_space import for_own_network, recipe_space
from inat.tuning.space.recipes import finetune_augmentations, modern_recipe
from inat.tuning.space.scratch_recipe import most_batch_for, scratch_recipe


def scratch_space() -> dict[str, Any]:
    """The published space for networks trained from scratch on nature_12K."""
    return {
        "first_layer_filters": tune.choice([32, 64, 128]),
        "filter_org": tune.choice([0.5, 1, 2]),
        "conv_layers": tune.choice([3, 4, 5]),
        "activation": tune.choice(ACTIVATIONS),
        "dropout": tune.choice([0.2, 0.3]),
        "batch_norm": tune.choice([True, False]),
        "batch_size": tune.choice([32, 64]),
        "learning_rate": tune.choice([1e-2, 1e-3, 1e-4]),
        "use_augmentation": tune.choice([True, False]),
        "num_neurons_dense": tune.choice([128, 256, 512]),
    }


def small_space(image_size: int = SMALL_IMAGE) -> dict[str, Any]:
    """The published space made smaller for images up to 32 px: a quarter of the width, one convolution less.

    Images below 16 px leave out the numbers of convolutions that they are too small for, unless all are.
    """
    conv_layers = [2, 3, 4]
    return scratch_space() | {
        "first_layer_filters": tune.choice([8, 16, 32]),
        "conv_layers": tune.choice([n for n in conv_layers if 2**n <= image_size] or conv_layers),
        "num_neurons_dense": tune.choice([32, 64, 128]),
    }


def modern_space() -> dict[str, Any]:
    """What `--space modern` was in versions before the recipe: the published family, and newer ways to train it.

    Kept for space files that build on it; new ones start from ``recipe_space``.
    """
    return scratch_space() | {
        "first_layer_filters": tune.choice([16, 24, 32, 64]),
        "filter_org": tune.choice([1, 2]),
        "dropout": tune.choice([0.0, 0.2, 0.3]),
        "batch_norm": tune.choice([True]),
        "block": tune.choice(BLOCKS),
        "pooling": tune.choice(POOLINGS),
        "learning_rate": tune.loguniform(1e-3, 2e-2),
        "schedule": tune.choice([STEP, COSINE]),
        "warmup_share": tune.choice([0.1, 0.2, 0.3]),
        "weight_decay": tune.choice([0.0, 0.01, 0.05, 0.2]),
        "label_smoothing": tune.choice([0.0, 0.1]),
        "light_augmentation": tune.choice([True, False]),
        "mixup_alpha": tune.choice([0.0, 0.2]),
        "cutmix_alpha": tune.choice([0.0, 1.0]),
        "random_erasing": tune.choice([0.0, 0.25]),
        "ema_decay": tune.choice([0.0, 0.99]),
    }


def finetune_space(config: FinetuneConfig) -> dict[str, Any]:
    """Backbones and how they are trained.

    The order of the hyperparameters puts grid trials that share features one after the other.
    """
    rates = sorted(config.learning_rates)
    ranged = config.searcher != "grid" and len(rates) > 1
    space = {
        "backbone": tune.choice(config.backbones),
        "strategy": tune.choice(config.strategies),
        "k_layers": tune.choice(config.k_layers),
        **finetune_augmentations(config),
        "batch_size": tune.choice(config.batch_sizes),
        "learning_rate": tune.loguniform(rates[0], rates[-1]) if ranged else tune.choice(rates),
    }
    if config.recipe == MODERN:
        space |= modern_recipe(config)
    return space if FREEZE_PARTIAL in config.strategies else {n: d for n, d in space.items() if n != "k_layers"}


PRESETS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "full": lambda _: scratch_space(),
    "small": lambda config: small_space(config.resolved_image_size),
    FINETUNE: finetune_space,
}


def space_of(
    config: SearchConfig, data: DataSummary | None = None, stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the search space that ``config`` names: a preset, or the space in a Python file.

    The modern space depends on the ``data``, which are listed unless they are given. That of a study which exists is
    ``stored`` in its study.json, from where it is read if ``config`` resumes the study: versions have other rules.

    Raises ConfigError, with every mistake, if the space has values that cannot be trained; DataError for data, and
    StudyError for a study, that cannot be read.
    """
    name = config.resolved().space
    if name == MODERN_SPACE:
        space = _modern(config, data, stored)
    else:
        space = PRESETS[name](config) if name in PRESETS else load_space(Path(name))
    preset = name in (*PRESETS, MODERN_SPACE)
    if config.model is not None:
        from inat.tuning.space.own_space import own_space  # loads torch, which other searches do without

        space = own_space(config, space, preset=preset)
    try:
        if config.KIND == FINETUNE and config.model is None and not isinstance(space.get("backbone"), Categorical):
            raise ConfigError("a space for fine-tuning needs a choice of backbone")
        check_space(space, {n: v for n, v in config.trial_settings().items() if n not in _replaceable(config)})
    except ConfigError as error:
        raise error if preset or config.model else ConfigError(f"{name}: {_one_line(error)}") from error
    return space


def _modern(config: SearchConfig, data: DataSummary | None, stored: Mapping[str, Any] | None) -> dict[str, Any]:
    if stored is None and config.resume is not None:
        directory = expanded(config.resume)
        info = read_info(directory)
        require(info, directory, "space")
        stored = info["space"]
    if stored is not None:
        return space_from_json(stored)
    recipe = recipe_of(config, data or inspect_data(config.data_config()))
    space = recipe_space(recipe, most_batch_for(config.resolved_image_size))
    return space if config.model is None else for_own_network(space)


def recipe_of(config: SearchConfig, data: DataSummary) -> dict[str, Any]:
    """The recipe for the networks, the images and the epochs of a search."""
    size, images, classes = config.resolved_image_size, max(1, data.training), len(data.classes)
    return scratch_recipe(image_size=size, images=images, classes=classes, epochs=config.max_epochs)


def _replaceable(config: SearchConfig) -> frozenset[str]:
    return config.replaceable if isinstance(config, FinetuneConfig) else frozenset()


def load_space(path: Path) -> dict[str, Any]:
    """Call the function ``space()`` in a Python file and return its dict of Tune's domains.

    A plain value becomes a choice of one. Raises ConfigError if the file cannot be run, has no such function, or the
    function returns anything but a dict.
    """
    try:
        function = runpy.run_path(str(path)).get("space")
        space = function() if callable(function) else None
    except (Exception, SystemExit) as error:  # a user's file may raise anything and may call sys.exit
        raise ConfigError(
            f"{path} cannot be used as a space ({type(error).__name__}: {_one_line(error)}); correct it"
        ) from error
    if not callable(function):
        raise ConfigError(f"{path} has no function space(); define one that returns a dict of tune.choice(...)")
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(f"space() of {path} must return a dict of hyperparameters, got {_one_line(space)}")
    return {name: as_domain(value) for name, value in space.items()}


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def check_space(space: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise ConfigError, with every mistake, unless the boundary values of every domain make a valid TrialConfig.

    ``settings`` are the settings that all trials share. Each value is tried with the first values of the other domains.
    """
    if both := [name for name in ("class_weights", "balanced_sampler") if name in space and name in settings]:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in both)
        raise ConfigError(
            f"the space contains {', '.join(both)} already; leave out {options}, or remove it from the space"
        )
    if fixed := sorted(name for name in space if name in settings or name in SET_BY_SEARCH):
        raise ConfigError(f"{', '.join(fixed)} is set by the search and cannot be a hyperparameter too")
    raise_if_any([message for name, domain in space.items() for message in domain_errors(name, domain)])
    first = {name: boundary_values(domain)[0] for name, domain in space.items()}
    problems: list[str] = []
    for name, domain in space.items():
        for value in boundary_values(domain):
            try:
                TrialConfig.from_params({**settings, **first, name: value})
            except ConfigError as error:
                problems += error.problems
    raise_if_any(problems)


def space_to_json(space: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the space for study.json: for each hyperparameter a list of choices, or the range."""
    return {name: domain_to_json(domain) for name, domain in space.items()}


def space_from_json(described: Any) -> dict[str, Any]:
    """The space that ``space_to_json`` described; StudyError for anything else."""
    if not isinstance(described, Mapping):
        raise unusable_space(described)
    return {name: domain_from_json(domain) for name, domain in described.items()}
