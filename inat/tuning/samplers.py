"""Optuna's samplers by name."""

from collections.abc import Mapping
from typing import Any, Literal

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

SamplerName = Literal["tpe", "gp", "random", "grid"]
STARTUP_TRIALS = 10  # random ones before the model is trusted; Optuna's own default


class FixedSpace:
    """Mixin: the joint space is given, where samplers collect it from all trials anew.

    All trials of a study have the same hyperparameters, so it is the same space; collecting it took half of the time of
    a suggestion after 150 trials, and grows with their number.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        # In the order of Optuna's own, which decides over the random numbers; a single choice needs no model.
        self._joint = {name: space[name] for name in sorted(space) if not space[name].single()}

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """See Optuna's BaseSampler."""
        return self._joint


class FixedSpaceTPE(FixedSpace, TPESampler):
    """TPE over a given space."""


class FixedSpaceGP(FixedSpace, GPSampler):
    """Gaussian process over a given space."""


def make_sampler(name: SamplerName, seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """``tpe``: multivariate with constant liar, so that trials running side by side differ; ``gp``; ``random``.

    A grid's configurations are given, so that its sampler has nothing to decide.
    Every argument that decides is given: Optuna changes its defaults from version to version.
    """
    if name == "tpe":
        startup = STARTUP_TRIALS
        return FixedSpaceTPE(space, seed=seed, multivariate=True, constant_liar=True, n_startup_trials=startup)
    if name == "gp":
        return FixedSpaceGP(space, seed=seed, n_startup_trials=STARTUP_TRIALS, deterministic_objective=False)
    return RandomSampler(seed=seed)
