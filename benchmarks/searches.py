"""Searches for benchmarks/search_quality.py: real searchers and schedulers, used by simulated workers."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from record_curves import EPOCHS, SPACE


@dataclass(frozen=True, slots=True)
class Method:
    """A searcher ("random", "tpe", "stock" or one of inat's policies) and ASHA's grace period and factor, if any."""

    searcher: str
    asha: tuple[int, int] | None

    def __str__(self) -> str:
        return f"{self.searcher} + ASHA {self.asha[0]}/{self.asha[1]}" if self.asha else f"{self.searcher}, no ASHA"


class Search(Protocol):
    """The interface between a simulated worker and a search."""

    def ask(self) -> tuple[str, dict[str, Any]]:
        """The id and hyperparameters of the next trial."""

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """Report the best accuracy up to ``epoch``; True if the trial must stop."""


class RaySearch:
    """Ray's OptunaSearch, or random search, with or without ASHAScheduler."""

    def __init__(self, method: Method, seed: int) -> None:
        import optuna
        from ray import tune
        from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.RandomSampler(seed=seed) if method.searcher == "random" else None
        own = {"sampler": sampler} if sampler else {"seed": seed}
        space = OptunaSearch.convert_search_space({name: tune.choice(values) for name, values in SPACE.items()})
        self._search = OptunaSearch(space, metric="accuracy", mode="max", **own)
        self._asha: Any = FIFOScheduler()
        if method.asha:
            grace, factor = method.asha
            self._asha = ASHAScheduler(metric="accuracy", mode="max", max_t=EPOCHS, grace_period=grace,
                                       reduction_factor=factor)  # fmt: skip
        self._count = itertools.count()

    def ask(self) -> tuple[str, dict[str, Any]]:
        """See Search."""
        trial_id = f"{next(self._count):05d}"
        self._asha.on_trial_add(None, SimpleNamespace(trial_id=trial_id))
        params = self._search.suggest(trial_id)
        assert params is not None
        return trial_id, params

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """See Search. As in Tune, the searcher gets no result for a trial's last report, only its completion."""
        result = {"training_iteration": epoch, "accuracy": best}
        trial = SimpleNamespace(trial_id=trial_id)
        if epoch == EPOCHS:
            self._asha.on_trial_complete(None, trial, result)
        elif self._asha.on_trial_result(None, trial, result) != "STOP":
            self._search.on_trial_result(trial_id, result)
            return False
        self._search.on_trial_complete(trial_id, result)
        return True


class InatSearch:
    """inat's searcher and scheduler on a study directory."""

    def __init__(self, method: Method, seed: int, folder: Path) -> None:
        from ray import tune

        from inat.study.study import Study
        from inat.tuning.ray_backend.asha import asha_for
        from inat.tuning.rungs import Rungs
        from inat.tuning.sampling.options import SearcherOptions
        from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch

        assert method.asha is not None
        grace, factor = method.asha
        self._study = Study.create(folder / "study", {"config": {}})
        self._asha = asha_for(self._study, max_epochs=EPOCHS, grace_period=grace, reduction_factor=factor)
        options = SearcherOptions(rungs=Rungs(grace, factor, EPOCHS), seed=seed, stopped=method.searcher)  # type: ignore[arg-type]
        space = {name: tune.choice(values) for name, values in SPACE.items()}
        self._search = BudgetAwareOptunaSearch(self._study, space, options)

    def ask(self) -> tuple[str, dict[str, Any]]:
        """See Search."""
        trial_id = self._search.next_trial_id()
        self._asha.on_trial_add(None, SimpleNamespace(trial_id=trial_id))
        suggested = self._search.suggest(trial_id)
        assert suggested is not None, "without a time budget, every trial is started"
        return trial_id, suggested

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """See Search."""
        result = {"epoch": epoch, "best_val_acc": best}
        trial = SimpleNamespace(trial_id=trial_id)
        done = epoch == EPOCHS
        if done:
            self._asha.on_trial_complete(None, trial, result)
        stopped = not done and self._asha.on_trial_result(None, trial, result) == "STOP"
        self._study.add_epoch(trial_id, result)
        if done or stopped:
            self._study.end_trial(trial_id, "completed" if done else "stopped")
        self._search.on_trial_update(self._study.trials[trial_id])
        return done or stopped
