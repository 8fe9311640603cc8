"""Optuna's samplers by name, over a fixed search space, with a TPE that skips configurations that have been tried.

This module and ``prior`` override one private method of Optuna, ``TPESampler._compute_acquisition_func``: Optuna has no
public way to choose among TPE's candidates. tests/contracts/test_optuna.py checks what the overrides rely on.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

SamplerName = Literal["auto", "tpe", "gp", "random", "grid"]
CANDIDATES = 24  # from which TPE takes the most promising; Optuna's default
RETRY_CANDIDATES = 240  # for the next suggestion if all of those have been tried
STARTUP_TRIALS = 10  # random trials before a model is used; Optuna's default
# Every option that affects the suggestions is given: Optuna changes its defaults between versions.
TPE_OPTIONS: Final[Mapping[str, Any]] = {
    "multivariate": True, "constant_liar": True, "n_startup_trials": STARTUP_TRIALS,
}  # fmt: skip
WasTried = Callable[[dict[str, Any]], bool]


class FixedSpace:
    """Mixin for samplers: return a given joint search space instead of inferring it from all trials.

    All trials of a study have the same hyperparameters, so the inferred space is the same. Inferring it took half of
    the time of a suggestion after 150 trials, and this share grows with the number of trials.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        # Sorted by name as Optuna does it: the order decides which hyperparameter gets which random number.
        # Optuna leaves out distributions of a single value, too.
        self._joint = {name: space[name] for name in sorted(space) if not space[name].single()}

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """Return the joint space; called by Optuna before each suggestion."""
        return self._joint


class FixedSpaceTPE(FixedSpace, TPESampler):
    """TPE over a given space that skips candidates for which ``was_tried`` is true.

    TPE draws some candidates where it expects good values and suggests the most promising one. In a space of choices
    that is soon a configuration that has been tried: with 15,552 networks, nearly always after about 300 trials.
    ``was_tried`` gets a whole configuration. If all candidates have been tried, TPE suggests the most promising one.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], was_tried: Callable[[dict[str, Any]], bool], **options: Any
    ) -> None:
        super().__init__(space, **options)
        self._was_tried = was_tried
        self._constants = {name: _only_value(one) for name, one in space.items() if one.single()}

    def _compute_acquisition_func(
        self, samples: dict[str, NDArray[np.float64]], mpe_below: Any, mpe_above: Any
    ) -> NDArray[np.float64]:
        # Among choices many candidates are equal, and later most of them have been tried: no score for these.
        candidates = np.stack([samples[name] for name in self._joint], axis=1)
        different, which = np.unique(candidates, axis=0, return_inverse=True)
        tried = np.array([self._was_tried(self._params_of(candidate)) for candidate in different])
        wanted = np.full(len(tried), True) if tried.all() else ~tried
        asked = {name: different[wanted, i] for i, name in enumerate(self._joint)}
        scores = np.full(len(different), -np.inf)
        scores[wanted] = super()._compute_acquisition_func(asked, mpe_below, mpe_above)
        return scores[which.reshape(-1)]

    def _params_of(self, candidate: NDArray[np.float64]) -> dict[str, Any]:
        values = zip(self._joint.items(), candidate, strict=True)
        return self._constants | {name: one.to_external_repr(value) for (name, one), value in values}


class FixedSpaceGP(FixedSpace, GPSampler):
    """Gaussian process over a given space."""


def _only_value(single: Any) -> Any:
    return single.choices[0] if isinstance(single, CategoricalDistribution) else single.low


def sampler_for(
    name: SamplerName, space: Mapping[str, BaseDistribution], *, mode: str = "max", learned: bool = False
) -> SamplerName:
    """The sampler ``name``; of "auto", "gp" if each hyperparameter is a range of numbers, and "tpe" otherwise.

    A Gaussian process learns more from a trial where values that are close have similar results; of choices, it knows
    only which ones are equal. Measured by benchmarks/search_quality.py. TPE alone has a prior, so it is taken if
    something was ``learned`` before. And it looks at the order of the results alone, so it is taken for a loss: one
    that diverged would hide the differences between the others. ``mode`` is that of the objective.

    >>> from optuna.distributions import FloatDistribution
    >>> sampler_for("auto", {"learning_rate": FloatDistribution(1e-4, 1e-1, log=True)})
    'gp'
    """
    if name != "auto":
        return name
    searched = [one for one in space.values() if not one.single()]
    ranges = [one for one in searched if not isinstance(one, CategoricalDistribution)]
    return "gp" if ranges and len(ranges) == len(searched) and mode == "max" and not learned else "tpe"


def make_sampler(
    name: SamplerName,
    seed: int,
    space: Mapping[str, BaseDistribution],
    was_tried: Callable[[dict[str, Any]], bool],
    candidates: int = CANDIDATES,
) -> BaseSampler:
    """Make the sampler ``name`` over ``space`` with its own ``seed``.

    "tpe" is multivariate with constant liar, so that suggestions for trials that run at the same time differ; it
    chooses among ``candidates`` and skips those for which ``was_tried`` is true. "gp" is a Gaussian process. "random",
    and "grid", whose configurations are all given, draw at random.
    """
    if name == "tpe":
        return FixedSpaceTPE(space, was_tried, seed=seed, n_ei_candidates=candidates, **TPE_OPTIONS)
    if name == "gp":
        return FixedSpaceGP(space, seed=seed, n_startup_trials=STARTUP_TRIALS, deterministic_objective=False)
    return RandomSampler(seed=seed)
