"""The metrics that a search can optimise: their columns, names and directions.

`inat` optimises one of them and records all of them; `analysis` reads from study.json which one it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from analysis.schema import (
    BEST_PREFIX,
    METRIC,
    VAL_ACC,
    VAL_BALANCED_ACC,
    VAL_LOSS,
    VAL_MACRO_F1,
    VAL_TOP2_ACC,
)

Mode = Literal["max", "min"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """A metric that a search can optimise.

    ``name`` is the value of the option --metric, ``column`` the metric of one epoch, ``best_column`` the best value so
    far. ``label`` names the metric in texts, ``short`` beside words such as "best". ``ideal`` is the best possible
    value. ``worst`` is what the sampler gets for a trial without a value, and for a value beyond it.
    """

    name: str
    column: str
    label: str
    short: str
    mode: Mode = "max"
    ideal: float = 1.0
    worst: float = 0.0

    @property
    def best_column(self) -> str:
        """The column of the best value so far."""
        return f"{BEST_PREFIX}{self.column}"

    @property
    def sign(self) -> int:
        """1 if higher values are better, -1 if lower ones are: ``sign * value`` is to be maximised."""
        return 1 if self.mode == "max" else -1

    def better(self, a: float, b: float) -> bool:
        """Whether ``a`` is better than ``b``; False if one of them is NaN.

        >>> OBJECTIVES["val_loss"].better(0.5, 0.7)
        True
        """
        return self.sign * a > self.sign * b

    def reaches(self, value: float, target: float) -> bool:
        """Whether ``value`` is ``target`` or better; False if one of them is NaN."""
        return self.sign * value >= self.sign * target

    def best(self, values: Iterable[float]) -> float:
        """The best of some values."""
        return self.sign * max(self.sign * value for value in values)

    def clamp(self, value: float) -> float:
        """``value``, or the end of the range from ``worst`` to ``ideal`` that it is beyond; ``worst`` for NaN.

        >>> OBJECTIVES["val_loss"].clamp(9.5), OBJECTIVES["val_loss"].clamp(float("nan"))
        (7.0, 7.0)
        """
        if value != value:
            return self.worst
        low, high = sorted((self.worst, self.ideal))
        return min(high, max(low, value))


ACCURACY: Final = Objective(name="accuracy", column=VAL_ACC, label="validation accuracy", short="accuracy")
# A loss has no upper bound. 7 is that of equal probabilities for 1,000 classes: a larger one is no better than none.
LOSS: Final = Objective(
    name="val_loss", column=VAL_LOSS, label="validation loss", short="loss", mode="min", ideal=0.0, worst=7.0
)
BALANCED_ACCURACY: Final = Objective(
    name="balanced_accuracy", column=VAL_BALANCED_ACC, label="balanced validation accuracy", short="balanced accuracy"
)
MACRO_F1: Final = Objective(name="macro_f1", column=VAL_MACRO_F1, label="validation macro F1", short="macro F1")
TOP2: Final = Objective(name="top2", column=VAL_TOP2_ACC, label="validation top-2 accuracy", short="top-2 accuracy")
OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective for objective in (ACCURACY, BALANCED_ACCURACY, MACRO_F1, LOSS, TOP2)
}


def objective_named(metric: str) -> Objective | None:
    """The objective whose best values are in the column ``metric``, such as "best_val_acc"; None for another metric."""
    return next((one for one in OBJECTIVES.values() if one.best_column == metric), None)


def objective_of(info: Mapping[str, Any]) -> Objective:
    """The objective of a study with this study.json; studies of earlier versions optimised the accuracy.

    Raises KeyError if this version does not know the metric.

    >>> objective_of({"config": {"metric": "macro_f1"}}).best_column
    'best_val_macro_f1'
    """
    config = info.get("config")
    name = config.get(METRIC, ACCURACY.name) if isinstance(config, Mapping) else ACCURACY.name
    return OBJECTIVES[name]
