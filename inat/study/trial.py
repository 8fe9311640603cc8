"""One trial of a study as far as it is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inat.config.trial import active_params
from inat.constants import (
    BEST_VAL_ACC,
    EPOCH,
    FINISHED,
    RUNNING,
    SECONDS,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
)


@dataclass(slots=True)
class Trial:
    """One trial as far as it is known."""

    trial_id: str
    number: int
    params: dict[str, Any]
    created: str
    state: str = RUNNING
    node: str = ""
    error: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The short name made of the hyperparameters."""
        return short_name(active_params(self.params))

    @property
    def epochs(self) -> int:
        """Epochs reached."""
        return int(self.history[-1][EPOCH]) if self.history else 0

    @property
    def best_val_acc(self) -> float | None:
        """Best validation accuracy so far, None before the first epoch."""
        return float(self.history[-1][BEST_VAL_ACC]) if self.history else None

    @property
    def trainable_parameters(self) -> int | None:
        """How many parameters the trial trains, None before the first epoch."""
        return self.history[-1].get(TRAINABLE) if self.history else None

    @property
    def seconds(self) -> float:
        """Training and validation time of the epochs in ``history``."""
        return sum(float(row.get(SECONDS) or 0) for row in self.history)

    @property
    def finished(self) -> str | None:
        """Why the trial said it was done, if it did."""
        return self.history[-1].get(FINISHED) if self.history else None

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Append one epoch; a trial that was set back to a checkpoint replaces what it had reported beyond it."""
        while self.history and self.history[-1][EPOCH] >= row[EPOCH]:
            self.history.pop()
        self.history.append(row)

    def table_row(self) -> dict[str, Any]:
        """This trial as a row of trials.csv."""
        row: dict[str, Any] = {name: getattr(self, name) for name in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)}
        row[SECONDS] = round(self.seconds, 3)
        return active_params(self.params) | row


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
