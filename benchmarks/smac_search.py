"""SMAC3 as a side of benchmarks/search_quality.py; it is no dependency of the project: ``pip install smac``.

"smac" is its facade for hyperparameters, random forests on whole trainings. "smac-hb" is its facade for several
budgets, Hyperband with such a forest; a configuration that is asked for with more epochs goes on where it was stopped.
"""

import itertools
from pathlib import Path
from typing import Any

from search_spaces import Benchmark

SMAC, SMAC_HYPERBAND = "smac", "smac-hb"


class SmacSearch:
    """SMAC3 by its ask and tell, with or without stopping trials ``early``; see ``searches.Search``."""

    def __init__(self, benchmark: Benchmark, seed: int, folder: Path, *, early: bool) -> None:
        from ConfigSpace import Categorical, ConfigurationSpace, Float
        from ray.tune.search.sample import Categorical as RayChoice
        from smac import HyperparameterOptimizationFacade, MultiFidelityFacade, Scenario
        from smac.runhistory.dataclasses import TrialValue

        self._value, self._epochs = TrialValue, benchmark.epochs
        self._choices = {
            name: list(domain.categories) for name, domain in benchmark.space.items() if isinstance(domain, RayChoice)
        }
        space = ConfigurationSpace(seed=seed)
        for name, domain in benchmark.space.items():
            places = list(range(len(self._choices.get(name, ()))))
            space.add(Categorical(name, places) if places else Float(name, (domain.lower, domain.upper)))
        most = 40 * benchmark.trainings[-1] if early else 2 * benchmark.trainings[-1]  # more than a replay asks for
        budgets = {"min_budget": 1, "max_budget": benchmark.epochs} if early else {}
        scenario = Scenario(space, deterministic=True, n_trials=most, seed=seed, output_directory=folder, **budgets)
        facade = MultiFidelityFacade if early else HyperparameterOptimizationFacade
        self._smac = facade(scenario, lambda config, seed=0, budget=0: 0.0, logging_level=50, overwrite=True)
        self._asked: dict[str, Any] = {}
        self._reached: dict[Any, int] = {}
        self._count = itertools.count()

    def ask(self) -> tuple[str, dict[str, Any]]:
        """See Search."""
        info, trial_id = self._smac.ask(), str(next(self._count))
        self._asked[trial_id] = info
        return trial_id, {
            name: self._choices[name][int(value)] if name in self._choices else float(value)
            for name, value in dict(info.config).items()
        }

    def first_epoch(self, trial_id: str) -> int:
        """The epoch at which a trial begins: the one after those that its configuration has had."""
        return min(self._reached.get(self._asked[trial_id].config, 0) + 1, self._last(trial_id))

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """See Search."""
        if epoch < self._last(trial_id):
            return False
        info = self._asked[trial_id]
        self._reached[info.config] = epoch
        self._smac.tell(info, self._value(cost=-best), save=False)
        return True

    def _last(self, trial_id: str) -> int:
        budget = self._asked[trial_id].budget
        return round(budget) if budget else self._epochs
