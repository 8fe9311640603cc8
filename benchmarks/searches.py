"""Searches for benchmarks/search_quality.py: real searchers and schedulers, used by simulated workers."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from search_spaces import Benchmark
from smac_search import SMAC, SMAC_HYPERBAND, SmacSearch

from inat.study.study import Study

OPTUNA = ("random", "stock", "hyperband")  # every other searcher is one of inat's policies


@dataclass(frozen=True, slots=True)
class Method:
    """A searcher, and ASHA's grace period and factor, if any.

    "random" and "stock" are Ray's OptunaSearch, "hyperband" is Optuna's TPE with its Hyperband pruner, "smac" and
    "smac-hb" are SMAC3. "auto", "tpe" and "gp" are inat with this --searcher. Any other name is a policy of
    inat (--stopped-trials) with TPE.
    """

    searcher: str
    asha: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> "Method":
        """The method with the name ``text``: "stock 1/4", "random"."""
        searcher, _, asha = text.partition(" ")
        return cls(searcher, tuple(map(int, asha.split("/"))) if asha else None)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.searcher} {self.asha[0]}/{self.asha[1]}" if self.asha else self.searcher


class Search(Protocol):
    """The interface between a simulated worker and a search."""

    def ask(self) -> tuple[str, dict[str, Any]]:
        """The id and hyperparameters of the next trial."""

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """Report the best value up to ``epoch``; True if the trial must stop."""


def search_of(method: Method, benchmark: Benchmark, seed: int, folder: Path) -> Search:
    """Begin a search; ``folder`` is an empty one for its files."""
    if method.searcher == "hyperband":
        return HyperbandSearch(benchmark, seed)
    if method.searcher in (SMAC, SMAC_HYPERBAND):
        return SmacSearch(benchmark, seed, folder, early=method.searcher == SMAC_HYPERBAND)
    if method.searcher in OPTUNA:
        return RaySearch(method, benchmark, seed)
    return InatSearch(method, benchmark, seed, folder)


class RaySearch:
    """Ray's OptunaSearch, or random search, with or without ASHAScheduler."""

    def __init__(self, method: Method, benchmark: Benchmark, seed: int) -> None:
        import optuna
        from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.RandomSampler(seed=seed) if method.searcher == "random" else None
        own = {"sampler": sampler} if sampler else {"seed": seed}
        space = OptunaSearch.convert_search_space(benchmark.space)
        self._search = OptunaSearch(space, metric="accuracy", mode="max", **own)
        self._epochs = benchmark.epochs
        self._asha: Any = FIFOScheduler()
        if method.asha:
            grace, factor = method.asha
            self._asha = ASHAScheduler(metric="accuracy", mode="max", max_t=benchmark.epochs, grace_period=grace,
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
        if epoch == self._epochs:
            self._asha.on_trial_complete(None, trial, result)
        elif self._asha.on_trial_result(None, trial, result) != "STOP":
            self._search.on_trial_result(trial_id, result)
            return False
        self._search.on_trial_complete(trial_id, result)
        return True


class HyperbandSearch:
    """Optuna's TPE with its Hyperband pruner, both with their defaults: a model of each bracket, as in BOHB."""

    def __init__(self, benchmark: Benchmark, seed: int) -> None:
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._pruned, self._complete = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE
        self._space = OptunaSearch.convert_search_space(benchmark.space)
        self._epochs = benchmark.epochs
        pruner = optuna.pruners.HyperbandPruner(max_resource=benchmark.epochs)
        # The name decides which trial goes to which bracket.
        self._study = optuna.create_study(
            study_name=f"seed {seed}",
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruner,
        )
        self._trials: dict[str, optuna.Trial] = {}

    def ask(self) -> tuple[str, dict[str, Any]]:
        """See Search."""
        trial = self._study.ask(self._space)
        self._trials[str(trial.number)] = trial
        return str(trial.number), trial.params

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """See Search."""
        trial = self._trials[trial_id]
        trial.report(best, epoch)
        if epoch == self._epochs:
            self._study.tell(trial, best, self._complete)
            return True
        pruned = bool(trial.should_prune())
        if pruned:
            self._study.tell(trial, state=self._pruned)
        return pruned


class ReplayStudy(Study):
    """A study without trials.csv, which takes half of the time of a replay."""

    def write_trials(self) -> None:
        """Write nothing."""


class InatSearch:
    """inat's searcher and scheduler on a study directory; ``more`` options of the searcher, as of earlier studies."""

    def __init__(self, method: Method, benchmark: Benchmark, seed: int, folder: Path, **more: Any) -> None:
        from inat.tuning.ray_backend.asha import asha_for
        from inat.tuning.rungs import Rungs
        from inat.tuning.sampling.options import SearcherOptions
        from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch

        # A benchmark without rungs has one epoch.
        grace, factor = method.asha if method.asha and benchmark.has_rungs else (1, 3)
        self._epochs = benchmark.epochs
        self._study = ReplayStudy.create(folder / "study", {"config": {}})
        self._asha = asha_for(self._study, max_epochs=self._epochs, grace_period=grace, reduction_factor=factor)
        named = method.searcher in ("auto", "tpe", "gp")
        how: dict[str, Any] = {"sampler": method.searcher} if named else {"sampler": "tpe", "stopped": method.searcher}
        options = SearcherOptions(rungs=Rungs(grace, factor, self._epochs), seed=seed, **how, **more)
        self._search = BudgetAwareOptunaSearch(self._study, benchmark.space, options)

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
        done = epoch == self._epochs
        if done:
            self._asha.on_trial_complete(None, trial, result)
        stopped = not done and self._asha.on_trial_result(None, trial, result) == "STOP"
        self._study.add_epoch(trial_id, result)
        if done or stopped:
            self._study.end_trial(trial_id, "completed" if done else "stopped")
        self._search.on_trial_update(self._study.trials[trial_id])
        return done or stopped

    def close(self) -> None:
        """Close the study, which another search may learn from."""
        self._study.close()
