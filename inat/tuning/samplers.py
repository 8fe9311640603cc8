"""Optuna's samplers by name."""

from typing import Literal

from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

SamplerName = Literal["tpe", "gp", "random"]
STARTUP_TRIALS = 10  # random ones before the model is trusted; Optuna's own default


def make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    """``tpe``: multivariate with constant liar, so that trials running side by side differ; ``gp``; ``random``.

    Every argument that decides is given: Optuna changes its defaults from version to version.
    """
    if name == "tpe":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS)
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, deterministic_objective=False)
    return RandomSampler(seed=seed)
