"""One trial of a study, and the short name made of its hyperparameters."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from inat.config.objective import ACCURACY, Objective
from inat.config.trial import active_params
from inat.constants import (
    BEST_VAL_ACC,
    CONTROL,
    EPOCH,
    EPOCH_COST,
    FINISHED,
    FOLD,
    FOLD_TRIAL_COLUMNS,
    RUNNING,
    SECONDS,
    STOP_EPOCH,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    WOULD_STOP,
)
from inat.study.folds import fold_values, kept_row, standard_error


@dataclass(slots=True)
class Trial:
    """One trial: its hyperparameters, its state and the epochs that it has reported.

    ``created`` is a UTC time in ISO format. ``node`` is the node of the last epoch, "" before the first. ``error`` is
    the reason of a failure, or a note. ``history`` has one row per epoch. ``objective`` is that of the study.
    ``attempt`` counts from 1; each retry of the failed trial (--retry-failed) begins another one, and ``created`` is
    the time of the latest. ``control``: ASHA does not stop the trial; ``stop_epoch`` is the epoch after which it would
    have, None before and for other trials. ``raised`` has an entry for each time that the maximum of the epochs was
    raised while the trial stood at the former one: that epoch, and the new maximum. ``epoch_cost`` is what an epoch
    costs, in epochs of the recipe, where trials are compared at equal cost; elsewhere 1.
    """

    trial_id: str
    number: int
    params: dict[str, Any]
    created: str
    state: str = RUNNING
    node: str = ""
    error: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    objective: Objective = ACCURACY
    attempt: int = 1
    control: bool = False
    stop_epoch: int | None = None
    raised: tuple[tuple[int, int], ...] = ()
    epoch_cost: float = 1.0

    @property
    def attempt_id(self) -> str:
        """The trial's id, from the second attempt on with the number of the attempt: t0003-attempt-2."""
        return self.trial_id if self.attempt == 1 else f"{self.trial_id}-attempt-{self.attempt}"

    @property
    def name(self) -> str:
        """Short name made of the hyperparameters that have an effect."""
        return short_name(active_params(self.params))

    @property
    def epochs(self) -> int:
        """Number of the last epoch, 0 before the first."""
        last = self.history[-1:]  # in one step, because another thread may shorten it
        return int(last[0][EPOCH]) if last else 0

    @property
    def known_epochs(self) -> int:
        """Number of epochs, from the first on, that ``history`` has without a gap."""
        return next((i for i, row in enumerate(self.history) if row[EPOCH] != i + 1), len(self.history))

    @property
    def best_value(self) -> float | None:
        """Best value of the objective so far; None before the first epoch."""
        last = self.history[-1:]
        return float(last[0][self.objective.best_column]) if last else None

    @property
    def folded(self) -> bool:
        """Whether the trial trains several times, once per fold and repeat."""
        return bool(self.history) and FOLD in self.history[-1]

    @property
    def fold_values(self) -> list[float]:
        """The best value of each training that has ended, of a trial with folds or repeats."""
        return fold_values(self.history)

    @property
    def folds_done(self) -> int:
        """How many trainings of a trial with folds or repeats have ended."""
        return len(self.fold_values)

    @property
    def standard_error(self) -> float | None:
        """Standard error of the mean over these trainings; None for fewer than two."""
        return standard_error(self.fold_values)

    @property
    def kept_value(self) -> float | None:
        """The best value, in the column of the objective, in the row of the epoch whose weights are kept."""
        if not self.folded:
            return self.best_value
        return float(kept_row(self.history, self.objective)[self.objective.best_column])

    @property
    def trainable_parameters(self) -> int | None:
        """Number of parameters that the trial trains; None before the first epoch."""
        return self.history[-1].get(TRAINABLE) if self.history else None

    @property
    def seconds(self) -> float:
        """Seconds of training and validation, summed over ``history``."""
        return sum(float(row.get(SECONDS) or 0) for row in self.history)

    @property
    def finished(self) -> str | None:
        """Reason that the trial gave for ending, such as "patience"; None if it gave none."""
        return self.history[-1].get(FINISHED) if self.history else None

    def has_row(self, row: dict[str, Any]) -> bool:
        """Whether ``history`` has this very row."""
        return bool(row[EPOCH] <= self.epochs and row in self.history)

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Append one epoch; drop the same and later epochs, which a trial repeats after going back to a checkpoint."""
        while self.history and self.history[-1][EPOCH] >= row[EPOCH]:
            self.history.pop()
        self.history.append(row)

    def begin_again(self, attempt: int, created: str) -> None:
        """Begin another attempt: the trial is running and has no epoch."""
        self.state, self.error, self.node = RUNNING, "", ""
        self.attempt, self.created, self.stop_epoch = attempt, created, None
        self.raised = ()
        self.history.clear()

    def go_on(self, would_stop: bool) -> None:
        """Make the trial, which has ended at the maximum of the epochs, a running one that has not ended.

        ``would_stop``: it is a control trial that ASHA would stop after its last epoch.
        """
        self.state, self.error = RUNNING, ""
        last = {name: value for name, value in self.history[-1].items() if name != FINISHED}
        if would_stop:
            last[WOULD_STOP], self.stop_epoch = 1, self.epochs
        self.history[-1] = last

    def table_row(self) -> dict[str, Any]:
        """Return the row of this trial in trials.csv."""
        names = (name for name in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER) if name != BEST_VAL_ACC)
        row: dict[str, Any] = {name: getattr(self, name) for name in names}
        row |= {self.objective.best_column: self.best_value, SECONDS: round(self.seconds, 3)}
        if self.folded:
            row |= {name: getattr(self, name) for name in FOLD_TRIAL_COLUMNS}
        row |= {CONTROL: int(self.control), STOP_EPOCH: self.stop_epoch, EPOCH_COST: self.epoch_cost}
        return active_params(self.params) | row


def _scientific(prefix: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{prefix}{mantissa.removesuffix('.0')}e{int(exponent)}"

    return write


def _unless_off(write: Callable[[float], str]) -> Callable[[float], str]:
    return lambda value: write(value) if value else ""


# One entry per hyperparameter, in the order of the run names published for nature_12K. "" leaves it out of the name.
_SHORT_FORMS: dict[str, Callable[[Any], str]] = {
    "backbone": str,
    "strategy": str,
    "k_layers": lambda v: f"k{v}",
    "activation": str,
    "first_layer_filters": lambda v: f"{v}f",
    "filter_org": lambda v: f"x{v:g}",
    "conv_layers": lambda v: f"{v}L",
    "stem_filters": lambda v: f"stem{v}",
    "stem_stride": lambda v: "" if v == 1 else f"stride{v}",
    "block": lambda v: {"residual": "res"}.get(v, v),
    "pooling": lambda v: {"average": "gap", "maximum": "gmp", "flatten": "flat"}.get(v, v),
    "dropout": lambda v: f"d{v:.3g}",
    "batch_norm": lambda v: "bn" if v else "nobn",
    "batch_size": lambda v: f"b{v}",
    "learning_rate": _scientific("lr"),
    "use_augmentation": lambda v: "aug" if v else "noaug",
    "light_augmentation": lambda v: "light" if v else "",
    "num_neurons_dense": lambda v: f"fc{v}",
    "schedule": lambda v: {"cosine": "cos", "trapezoid": "trap"}.get(v, v),
    "warmup_share": lambda v: f"wu{v:.2g}",
    "decay_share": lambda v: f"dec{v:.2g}",
    "weight_decay": _unless_off(_scientific("wd")),
    "label_smoothing": _unless_off(lambda v: f"ls{v:.2g}"),
    "mixup_alpha": _unless_off(lambda v: f"mix{v:.2g}"),
    "cutmix_alpha": _unless_off(lambda v: f"cut{v:.2g}"),
    "random_erasing": _unless_off(lambda v: f"re{v:.2g}"),
    "ema_decay": _unless_off(lambda v: f"ema{v:.4g}"),
    "optimizer": lambda v: {"auto": ""}.get(v, v),
    "body_lr_factor": lambda v: f"body{v:.2g}",
    "layer_decay": lambda v: "" if v == 1 else f"ld{v:.2g}",
    "drop_path": _unless_off(lambda v: f"dp{v:.2g}"),
    "grad_clip": _unless_off(lambda v: f"clip{v:.2g}"),
    "augmentation_policy": lambda v: "" if v == "published" else str(v),
    "class_weights": lambda v: {"none": "", "balanced": "cwbal", "effective": "cweff"}.get(v, v),
    "balanced_sampler": lambda v: "evensampler" if v else "",
}


def short_name(params: Mapping[str, Any]) -> str:
    """Make a trial's name from its hyperparameters.

    Known ones take their short form, without those that are off; any other becomes ``name=value``.

    >>> short_name({"activation": "gelu", "conv_layers": 5, "learning_rate": 1e-4, "depth": 2})
    'gelu-5L-lr1e-4-depth=2'
    """
    names = [*(name for name in _SHORT_FORMS if name in params), *(name for name in params if name not in _SHORT_FORMS)]
    return "-".join(part for part in (_part(name, params[name]) for name in names) if part)


def _part(name: str, value: Any) -> str:
    """The part of a name for one hyperparameter; a value of another type than the published spaces have is a text."""
    if name in _SHORT_FORMS:
        with suppress(TypeError, ValueError, OverflowError):
            return str(_SHORT_FORMS[name](value))
    return f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
