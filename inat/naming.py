"""Short names of trials, made of their hyperparameters: ``gelu-64f-x1-5L-d0.3-bn-b64-lr1e-4-aug-fc256``."""

from collections.abc import Callable, Mapping
from typing import Any


def _learning_rate(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"lr{mantissa.removesuffix('.0')}e{int(exponent)}"


# One entry a hyperparameter, in the order the predecessor named its runs.
_SHORT: dict[str, Callable[[Any], str]] = {
    "backbone": str,
    "strategy": str,
    "k_layers": lambda v: f"k{v}",
    "activation": str,
    "first_layer_filters": lambda v: f"{v}f",
    "filter_org": lambda v: f"x{v:g}",
    "conv_layers": lambda v: f"{v}L",
    "dropout": lambda v: f"d{v:.3g}",
    "batch_norm": lambda v: "bn" if v else "nobn",
    "batch_size": lambda v: f"b{v}",
    "learning_rate": _learning_rate,
    "use_augmentation": lambda v: "aug" if v else "noaug",
    "num_neurons_dense": lambda v: f"fc{v}",
}


def short_name(params: Mapping[str, Any]) -> str:
    """The trial's name: known hyperparameters in their short form, any others as ``name=value``."""
    parts = [write(params[name]) for name, write in _SHORT.items() if name in params]
    others = (name for name in params if name not in _SHORT)
    parts += [f"{n}={v:.4g}" if isinstance(v := params[n], float) else f"{n}={v}" for n in others]
    return "-".join(parts)
