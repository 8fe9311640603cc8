"""Search spaces: functions that return plain dicts, one line a hyperparameter."""

from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical, Domain

from inat.config import ACTIVATIONS, refuse, too_many_pools
from inat.options import SearchConfig


def scratch_space() -> dict[str, Any]:
    """The predecessor's space of networks trained from scratch."""
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


def small_space() -> dict[str, Any]:
    """The same space with networks a quarter as wide and one convolution shallower, for images of up to 32 px."""
    return scratch_space() | {
        "first_layer_filters": tune.choice([8, 16, 32]),
        "conv_layers": tune.choice([2, 3, 4]),
        "num_neurons_dense": tune.choice([32, 64, 128]),
    }


def space_of(config: SearchConfig) -> dict[str, Any]:
    """The search space of ``config``; ConfigError if some of its networks do not fit the images."""
    space = {"full": scratch_space, "small": small_space}[config.resolved().space]()
    refuse(too_many_pools(max(space["conv_layers"].categories), config.resolved_image_size))
    return space


def describe(space: Mapping[str, Any]) -> dict[str, Any]:
    """The space as JSON values, for study.json: a list of choices, or the range, of each hyperparameter."""
    return {name: _describe_domain(domain) for name, domain in space.items()}


def _describe_domain(domain: Domain) -> Any:
    if isinstance(domain, Categorical):
        return list(domain.categories)
    scale = type(domain.get_sampler()).__name__.strip("_").lower()  # uniform, loguniform, quantized, ...
    return {"low": domain.lower, "high": domain.upper, "scale": scale}
