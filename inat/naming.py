"""Short names of trials, made of their hyperparameters: ``gelu-64f-x1-5L-d0.3-bn-b64-lr1e-4-aug-fc256``."""

from collections.abc import Callable, Mapping
from typing import Any


def _scientific(prefix: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{prefix}{mantissa.removesuffix('.0')}e{int(exponent)}"

    return write


def _unless_off(write: Callable[[float], str]) -> Callable[[float], str]:
    return lambda value: write(value) if value else ""


# One entry a hyperparameter, in the order the predecessor named its runs; "" is left out.
_SHORT: dict[str, Callable[[Any], str]] = {
    "backbone": str,
    "strategy": str,
    "k_layers": lambda v: f"k{v}",
    "activation": str,
    "first_layer_filters": lambda v: f"{v}f",
    "filter_org": lambda v: f"x{v:g}",
    "conv_layers": lambda v: f"{v}L",
    "block": lambda v: {"residual": "res"}.get(v, v),
    "pooling": lambda v: {"average": "gap", "maximum": "gmp", "flatten": "flat"}.get(v, v),
    "dropout": lambda v: f"d{v:.3g}",
    "batch_norm": lambda v: "bn" if v else "nobn",
    "batch_size": lambda v: f"b{v}",
    "learning_rate": _scientific("lr"),
    "use_augmentation": lambda v: "aug" if v else "noaug",
    "light_augmentation": lambda v: "light" if v else "",
    "num_neurons_dense": lambda v: f"fc{v}",
    "schedule": lambda v: {"cosine": "cos"}.get(v, v),
    "warmup_share": lambda v: f"wu{v:.2g}",
    "weight_decay": _unless_off(_scientific("wd")),
    "label_smoothing": _unless_off(lambda v: f"ls{v:.2g}"),
    "mixup_alpha": _unless_off(lambda v: f"mix{v:.2g}"),
    "cutmix_alpha": _unless_off(lambda v: f"cut{v:.2g}"),
    "random_erasing": _unless_off(lambda v: f"re{v:.2g}"),
    "ema_decay": _unless_off(lambda v: f"ema{v:.4g}"),
}


def short_name(params: Mapping[str, Any]) -> str:
    """The trial's name: known hyperparameters in their short form unless they are off, any others as ``name=value``."""
    parts = [write(params[name]) for name, write in _SHORT.items() if name in params]
    others = (name for name in params if name not in _SHORT)
    parts += [f"{n}={v:.4g}" if isinstance(v := params[n], float) else f"{n}={v}" for n in others]
    return "-".join(part for part in parts if part)
