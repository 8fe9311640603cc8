"""Effects with the other hyperparameters held fixed, from a linear model with one term per level of each parameter.

A Bayesian search samples good regions more often. Levels that it prefers therefore occur together with other levels
that it prefers, and plain means credit one level with the effect of another. The model separates them as long as
effects add up. Where effects interact, an adjusted effect is an average over the settings that the search visited. The
model cannot correct for parameters that never varied, or for levels that only occurred together.

Errors are HC3, robust to unequal variances (MacKinnon and White 1985). Those of a small group are uncertain themselves,
so their intervals come from Student's t with the degrees of freedom of Bell and McCaffrey (Survey Methodology 28,
2002), as Imbens and Kolesar recommend (Review of Economics and Statistics 98, 2016). benchmarks/interval_coverage.py
measures how often the intervals hold the truth.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import level_labels
from analysis.stats.resampling import CONFIDENCE, POWER, Array

MIN_RESIDUAL_DF = 10  # residual degrees of freedom below which the model's standard errors mean nothing


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference in mean accuracy with its 95 % interval and two-sided p value; NaN if it cannot be estimated.

    ``degrees_of_freedom`` are those of Student's t distribution, from which the interval is made.
    """

    value: float
    low: float
    high: float
    p: float
    degrees_of_freedom: float = float("nan")

    def __neg__(self) -> "Effect":
        return Effect(-self.value, -self.high, -self.low, self.p, self.degrees_of_freedom)

    def detectable(self, tests: int = 1) -> float:
        """The smallest true effect that a study like this finds in 80 % of cases, if ``tests`` are corrected together.

        (t_1-a/2 + t_0.8) times the standard error, with a = 5 % / ``tests``, the level at which Holm's correction
        begins. Source: Bloom, "Minimum detectable effects: a simple way to report the statistical power of
        experimental designs", Evaluation Review 19 (1995).

        >>> round(effect_with_interval(0.01, 0.01, 40).detectable(), 4)
        0.0287
        """
        t = stats.t(self.degrees_of_freedom)
        error = (self.high - self.low) / 2 / t.ppf((1 + CONFIDENCE) / 2)
        return float((t.ppf(1 - (1 - CONFIDENCE) / 2 / tests) + t.ppf(POWER)) * error)


UNKNOWN_EFFECT = Effect(*[float("nan")] * 4)


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Least squares of accuracy on the levels of all parameters, with HC3 (heteroscedasticity-robust) errors.

    ``design`` has one row per trial, ``inverse`` is that of its Gram matrix. ``estimable``: projection onto the
    directions that the design determines.
    """

    design: Array
    inverse: Array
    coefficients: Array
    residuals: Array
    leverage: Array
    degrees_of_freedom: int
    estimable: Array

    def contrast(self, direction: Array) -> Effect:
        """The change of accuracy for a step of ``direction`` in the space of the design's columns."""
        # A direction outside the span of the design was never varied on its own.
        if self.degrees_of_freedom < MIN_RESIDUAL_DF or not np.allclose(
            direction @ self.estimable, direction, atol=1e-6
        ):
            return UNKNOWN_EFFECT
        value = float(direction @ self.coefficients)
        weights = self.design @ self.inverse @ direction / (1 - self.leverage)
        error = float(np.linalg.norm(weights * self.residuals))
        return effect_with_interval(value, error, self._degrees_of_freedom(weights**2))

    def _degrees_of_freedom(self, weights: Array) -> float:
        """Those of sum(weights * residuals^2), by Satterthwaite's approximation for errors of one variance.

        Mean and variance of that sum are trace(A) and 2 trace(A A) with A = M W M, where M = I - H is the projection
        onto the residuals; M is not built, as it has an entry per pair of trials.
        """
        mean = float(np.sum(weights * (1 - self.leverage)))
        gram = self.inverse @ (self.design.T * weights @ self.design)
        variance = float(np.sum(weights**2 * (1 - 2 * self.leverage)) + np.trace(gram @ gram))
        if not (mean > 0 and variance > 0):
            return float(self.degrees_of_freedom)
        return min(mean**2 / variance, float(self.degrees_of_freedom))


def effect_with_interval(value: float, error: float, degrees_of_freedom: float) -> Effect:
    """An effect with its interval and p value from Student's t distribution."""
    if not (np.isfinite(error) and degrees_of_freedom > 0):
        return Effect(value, float("nan"), float("nan"), float("nan"))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees_of_freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, degrees_of_freedom)) if error > 0 else float(value == 0)
    return Effect(value, value - reach, value + reach, p, degrees_of_freedom)


def fit_linear_model(design: Array, accuracy: Array) -> LinearModel:
    """Fit least squares with HC3 errors; the pseudo-inverse handles linearly dependent columns."""
    gram = design.T @ design
    inverse: Array = np.asarray(np.linalg.pinv(gram, hermitian=True), dtype=float)
    estimable = inverse @ gram
    coefficients = inverse @ design.T @ accuracy
    residuals = accuracy - design @ coefficients
    leverage: Array = np.clip(np.sum(design @ inverse * design, axis=1), 0.0, 1 - 1e-6)
    degrees_of_freedom = len(accuracy) - round(float(np.trace(estimable)))
    return LinearModel(design, inverse, coefficients, residuals, leverage, degrees_of_freedom, estimable)


def dummy_columns(labels: pd.Series) -> Array:
    """One column of 0 and 1 for every level except the first."""
    codes = labels.cat.codes.to_numpy()
    columns: Array = (codes[:, None] == np.arange(1, len(labels.cat.categories))).astype(float)
    return columns


def design_without(sample: Sample, excluded: list[str]) -> Array:
    """The design matrix: a column of ones, and the levels of all parameters except ``excluded``."""
    blocks = [dummy_columns(level_labels(sample.trials[name])) for name in sample.parameters if name not in excluded]
    return np.hstack([np.ones((len(sample), 1)), *blocks])


def adjusted_effect(
    sample: Sample, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], excluded: list[str]
) -> Effect:
    """Mean accuracy of the trials ``first`` minus that of ``second``, all parameters except ``excluded`` held fixed.

    ``first``, ``second``: masks of the trials. The remaining trials enter the model as a third group.

    >>> from analysis.comparable import sample_at
    >>> sample = sample_at(study)
    >>> with_norm = sample.trials["batch_norm"].to_numpy()
    >>> round(adjusted_effect(sample, with_norm, ~with_norm, ["batch_norm"]).value, 3)
    0.135
    """
    rest = ~(first | second)
    groups = np.column_stack([first, rest] if rest.any() else [first]).astype(float)
    fixed = design_without(sample, excluded)
    model = fit_linear_model(np.hstack([groups, fixed]), sample.trials[ACCURACY].to_numpy(dtype=float))
    return model.contrast(np.eye(1, groups.shape[1] + fixed.shape[1])[0])


def welch_effect(first: Array, second: Array) -> Effect:
    """The plain difference of two means, with the interval and p value of Welch's t test.

    >>> effect = welch_effect(np.array([0.5, 0.6, 0.7]), np.array([0.2, 0.3, 0.1]))
    >>> round(effect.value, 2), round(effect.low, 2), round(effect.high, 2)
    (0.4, 0.17, 0.63)
    """
    difference = float(first.mean() - second.mean())
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return effect_with_interval(difference, 0.0, len(first) + len(second) - 2)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # equal results in one group, such as trials that learned nothing
        test = stats.ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(CONFIDENCE)
    return Effect(difference, float(low), float(high), float(test.pvalue), float(test.df))
