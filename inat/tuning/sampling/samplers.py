"""Optuna's samplers by name."""

from collections.abc import Callable, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

SamplerName = Literal["tpe", "gp", "random", "grid"]
# Hyperparameters of the ended trials of each study as Optuna's numbers: looking them up anew for each suggestion took
# half of its time.
_ENCODED: WeakKeyDictionary[Study, dict[int, list[float]]] = WeakKeyDictionary()
CANDIDATES = 24  # that TPE chooses among; Optuna's own default
MORE_CANDIDATES = 240  # where all of those were tried already
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
    """TPE over a given space, whose candidates that were ``tried`` already are left out of account.

    Of the 24 candidates that it draws where it expects good ones, Optuna takes the most promising. In a space of
    choices that soon is one it has taken before: of 15,552 networks, nearly always after some 300 trials.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], tried: Callable[[dict[str, Any]], bool], **options: Any
    ) -> None:
        super().__init__(space, **options)
        self._tried = tried
        self._fixed = {name: _only_value(one) for name, one in space.items() if one.single()}

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[np.float64]]:
        if search_space is not self._joint:
            own: dict[str, NDArray[np.float64]] = super()._get_internal_repr(trials, search_space, study)
            return own
        known = _ENCODED.setdefault(study, {})
        rows = []
        for trial in trials:
            row = known.get(trial.number)
            if row is None:
                params = self._get_params(trial, study)
                row = [one.to_internal_repr(params[name]) for name, one in search_space.items()]
                if trial.state.is_finished():
                    known[trial.number] = row
            rows.append(row)
        table = np.asarray(rows, dtype=float).reshape(len(rows), len(search_space))
        return {name: table[:, i] for i, name in enumerate(search_space)}

    def _compute_acquisition_func(
        self, samples: dict[str, NDArray[np.float64]], below: Any, above: Any
    ) -> NDArray[np.float64]:
        values: NDArray[np.float64] = super()._compute_acquisition_func(samples, below, above)
        drawn = (
            {name: one.to_external_repr(samples[name][i]) for name, one in self._joint.items()}
            for i in range(len(values))
        )
        tried = np.array([self._tried(self._fixed | params) for params in drawn])
        return values if tried.all() else np.where(tried, -np.inf, values)


class FixedSpaceGP(FixedSpace, GPSampler):
    """Gaussian process over a given space."""


def _only_value(single: Any) -> Any:
    return single.choices[0] if isinstance(single, CategoricalDistribution) else single.low


def make_sampler(
    name: SamplerName,
    seed: int,
    space: Mapping[str, BaseDistribution],
    tried: Callable[[dict[str, Any]], bool],
    candidates: int = CANDIDATES,
) -> BaseSampler:
    """``tpe``: multivariate with constant liar, so that trials running side by side differ; ``gp``; ``random``.

    A grid's configurations are given, so that its sampler has nothing to decide.
    TPE chooses among ``candidates``, those that were ``tried`` left out.
    Every argument that decides is given: Optuna changes its defaults from version to version.
    """
    if name == "tpe":
        return FixedSpaceTPE(
            space, tried, seed=seed, multivariate=True, constant_liar=True,
            n_startup_trials=STARTUP_TRIALS, n_ei_candidates=candidates,
        )  # fmt: skip
    if name == "gp":
        return FixedSpaceGP(space, seed=seed, n_startup_trials=STARTUP_TRIALS, deterministic_objective=False)
    return RandomSampler(seed=seed)
