"""Effects with the other hyperparameters held fixed: a linear model with one term for each level of each parameter.

A Bayesian search samples good regions more often, so levels that it likes meet other levels that it likes, and plain
means credit one with the work of the other. The model takes that apart as far as effects add up; where they do not
(interactions), an adjusted effect is an average over the settings that the search visited. It cannot correct for what
was never varied, nor for levels that only ever came together.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import level_labels
from analysis.stats.resampling import LEVEL, Array

# Trials that must be left over after every level has its term, or the errors of the model say nothing.
LEAST_FREEDOM = 10


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference in mean accuracy, its interval and two-sided p value; NaN where the trials cannot tell."""

    value: float
    low: float
    high: float
    p: float

    def __neg__(self) -> "Effect":
        return Effect(-self.value, -self.high, -self.low, self.p)


UNKNOWN = Effect(*[float("nan")] * 4)


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Least squares of accuracy on the levels of all parameters, with errors that allow for unequal spread (HC3).

    ``estimable`` projects onto the directions that the trials tell anything about.
    """

    coefficients: Array
    covariance: Array
    freedom: int
    estimable: Array

    def contrast(self, direction: Array) -> Effect:
        """The change of accuracy for a step of ``direction`` in the space of the design's columns."""
        # A direction that the design does not span is one that the trials never varied by itself.
        if self.freedom < LEAST_FREEDOM or not np.allclose(direction @ self.estimable, direction, atol=1e-6):
            return UNKNOWN
        value = float(direction @ self.coefficients)
        error = max(float(direction @ self.covariance @ direction), 0.0) ** 0.5
        return with_error(value, error, self.freedom)


def with_error(value: float, error: float, freedom: float) -> Effect:
    """An effect with its interval and p value by Student's t."""
    if not (np.isfinite(error) and freedom > 0):
        return Effect(value, float("nan"), float("nan"), float("nan"))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 0 else float(value == 0)
    return Effect(value, value - reach, value + reach, p)


def fit(design: Array, accuracy: Array) -> LinearModel:
    """Least squares with HC3 errors; columns that follow from others are dealt with by the pseudo-inverse."""
    gram = design.T @ design
    inverse = np.linalg.pinv(gram, hermitian=True)
    estimable = inverse @ gram
    coefficients = inverse @ design.T @ accuracy
    residuals = accuracy - design @ coefficients
    leverage = np.clip(np.sum(design @ inverse * design, axis=1), 0.0, 1 - 1e-6)
    scaled = design * (residuals / (1 - leverage))[:, None]
    freedom = len(accuracy) - round(float(np.trace(estimable)))
    return LinearModel(coefficients, inverse @ scaled.T @ scaled @ inverse, freedom, estimable)


def dummies(labels: pd.Series) -> Array:
    """A column of 0 and 1 for every level but the first."""
    codes = labels.cat.codes.to_numpy()
    columns: Array = (codes[:, None] == np.arange(1, len(labels.cat.categories))).astype(float)
    return columns


def others(sample: Sample, without: list[str]) -> Array:
    """A column of ones and the levels of all parameters but ``without``."""
    blocks = [dummies(level_labels(sample.trials[name])) for name in sample.parameters if name not in without]
    return np.hstack([np.ones((len(sample), 1)), *blocks])


def adjusted_difference(
    sample: Sample, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], without: list[str]
) -> Effect:
    """How much better the trials ``first`` are than ``second``, the parameters but ``without`` being equal.

    Other trials take part in the model as a third group, or they would be mistaken for one of the two.
    """
    rest = ~(first | second)
    groups = np.column_stack([first, rest] if rest.any() else [first]).astype(float)
    other = others(sample, without)
    model = fit(np.hstack([groups, other]), sample.trials[ACCURACY].to_numpy(dtype=float))
    return model.contrast(np.eye(1, groups.shape[1] + other.shape[1])[0])
