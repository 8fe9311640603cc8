"""The space of `--space modern`: the recipe, and few hyperparameters around it in ranges that hold good values."""

from collections.abc import Iterable, Mapping
from typing import Any

from ray import tune

from inat.config.trial import LIGHT, SHIFT, TRIVIAL

RATE_RANGE = (0.2, 4.0)  # of the recipe's learning rate, on a log scale
DECAYS = (0.0, 0.02, 0.1)
# Operations grow with the square of the width: with the largest depth, MOST_OPERATIONS times those of the recipe.
WIDTH_FACTORS = (0.5, 0.75, 1.0, 1.5)
MOST_OPERATIONS = 3
WIDTH_STEP = 8  # filters are multiples of it, which processors compute fastest
DEPTHS = (1, 2, 3)
BATCH_FACTORS = (0.5, 1.0, 2.0)
POLICIES = (SHIFT, LIGHT, TRIVIAL)
SMOOTHINGS = (0.0, 0.05, 0.1, 0.2)
WARMUPS = (0.05, 0.4)
MIXUPS, CUTMIXES = (0.0, 0.2), (0.0, 1.0)
# The network of a user may need a smaller learning rate than that of the recipe, for which it was not made.
OWN_RATE_FACTOR = 0.1


def recipe_space(recipe: Mapping[str, Any], most_batch: int | None = None) -> dict[str, Any]:
    """The hyperparameters around a ``recipe``; those that are no knob have its value only.

    ``most_batch`` is the largest batch size for its images, if there is one.

    >>> from inat.tuning.space.scratch_recipe import scratch_recipe
    >>> space = recipe_space(scratch_recipe(image_size=32, images=10_000, classes=10, epochs=12))
    >>> space["width"].categories, space["depth"].categories, space["batch_size"].categories
    ([32, 48, 64, 96], [1, 2, 3], [64, 128, 256])
    """
    rate = recipe["learning_rate"]
    batches = {int(factor * recipe["batch_size"]) for factor in BATCH_FACTORS}
    knobs = {
        "width": _choice([recipe["width"], *(_width(recipe["width"] * factor) for factor in WIDTH_FACTORS)]),
        "depth": _choice([*DEPTHS, recipe["depth"]]),
        "learning_rate": tune.loguniform(*(_two_digits(factor * rate) for factor in RATE_RANGE)),
        "batch_size": _choice(n for n in batches if most_batch is None or n <= max(most_batch, recipe["batch_size"])),
        "warmup_share": tune.uniform(min(WARMUPS[0], recipe["warmup_share"]), max(WARMUPS[1], recipe["warmup_share"])),
        "weight_decay": _choice([*DECAYS, recipe["weight_decay"]]),
        "label_smoothing": _choice([*SMOOTHINGS, recipe["label_smoothing"]]),
        "augmentation_policy": tune.choice(list(POLICIES)),
        "mixup_alpha": _choice([*MIXUPS, recipe["mixup_alpha"]]),
        "cutmix_alpha": _choice([*CUTMIXES, recipe["cutmix_alpha"]]),
    }
    return {name: knobs[name] if name in knobs else tune.choice([value]) for name, value in recipe.items()}


def for_own_network(space: Mapping[str, Any]) -> dict[str, Any]:
    """The same space with learning rates down to a tenth."""
    rate = space["learning_rate"]
    return {**space, "learning_rate": tune.loguniform(_two_digits(OWN_RATE_FACTOR * rate.lower), rate.upper)}


def _choice(values: Iterable[Any]) -> Any:
    return tune.choice(sorted(set(values)))


def _width(filters: float) -> int:
    return max(WIDTH_STEP, WIDTH_STEP * round(filters / WIDTH_STEP))


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
