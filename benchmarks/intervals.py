"""Means with their 95 % interval, Student's t, and differences paired by seed."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over ``n`` trainings and its interval, which is NaN for a single one."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The mean of ``values``."""
        value, n = statistics.mean(values), len(values)
        if n < 2:
            return cls(value, math.nan, math.nan, n)
        from scipy import stats

        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
        return cls(value, value - reach, value + reach, n)

    def text(self, form: str = ".4f") -> str:
        """The mean and its interval, for example ``0.6270 (0.6134 to 0.6406, n=6)``."""
        if self.n < 2:
            return f"{self.value:{form}} (n=1)"
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}}, n={self.n})"

    def fields(self, name: str, form: str = ".4g") -> str:
        """The mean and its interval as fields of a result line."""
        ends = "" if self.n < 2 else f" {name}_low={self.low:{form}} {name}_high={self.high:{form}}"
        return f"{name}={self.value:{form}}{ends}"


def paired(left: Mapping[int, float], right: Mapping[int, float]) -> list[float]:
    """Differences of the values that have the same seed."""
    return [left[seed] - right[seed] for seed in left if seed in right]
