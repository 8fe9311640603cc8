"""Compare searches that learn from an earlier study with a search from scratch, replayed on recorded curves.

    python benchmarks/learn_from.py                   # 30 seeds, 4 workers

Searcher and scheduler are the real ones, and so are the earlier studies: 48 replayed trials in a study directory, which
--learn-from reads. The curves are those of 648 networks on the digits (benchmarks/record_curves.py). The earlier study
is of another task on the same space:

- helpful: trainings of 9 instead of 27 epochs, and each network's accuracy changed by noise of 1 point;
- unrelated: every network has the curve of another network, drawn at random;
- misleading: the better a network, the worse it was in the earlier study.

Workers run in parallel in simulated time; an epoch takes 0.8 to 1.2 units. Regret is the best validation accuracy of
all networks minus the best one found. p is of Wilcoxon's signed-rank test over seeds, against the search from scratch.
"""

import csv
import heapq
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from record_curves import CURVES, EPOCHS, SPACE, configurations
from scipy.stats import wilcoxon

BUDGETS = (135, 270, 540)  # epochs: 5, 10 and 20 complete trainings
EARLIER_TRIALS, EARLIER_EPOCHS = 48, 9
EARLIER = ("none", "helpful", "unrelated", "misleading")
Curves = Mapping[tuple[str, ...], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches that learn from an earlier study."""

    seeds: int = 30
    first_seed: int = 0
    workers: int = 4
    processes: int = os.cpu_count() or 1

    @property
    def every_seed(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)


def load_curves() -> dict[tuple[str, ...], NDArray[np.float64]]:
    """Best validation accuracy up to each epoch, by hyperparameters as text; after a divergence it stays constant."""
    with CURVES.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    curves = {}
    for row in rows:
        best = np.maximum.accumulate(np.array([float(value) for value in row[len(SPACE) :]] or [0.0]))
        curves[tuple(row[: len(SPACE)])] = np.pad(best, (0, EPOCHS - len(best)), mode="edge")
    assert len(curves) == len(list(configurations())), f"run benchmarks/record_curves.py: {CURVES} is not complete"
    return curves


def earlier_task(name: str, curves: Curves, seed: int) -> Curves:
    """The curves of the task of an earlier study."""
    rng = np.random.default_rng((seed, 1))
    if name == "helpful":
        return {key: np.clip(curve[:EARLIER_EPOCHS] + rng.normal(0, 0.01), 0, 1) for key, curve in curves.items()}
    if name == "unrelated":
        drawn = rng.permutation(len(curves))
        others = list(curves.values())
        return {key: others[index] for key, index in zip(curves, drawn, strict=True)}
    return {key: (1 - curve[-1]) * np.arange(1, EPOCHS + 1) / EPOCHS for key, curve in curves.items()}


class Search:
    """inat's searcher and scheduler on a new study directory, learning from the studies in ``learn_from``."""

    def __init__(self, directory: Path, seed: int, epochs: int, learn_from: tuple[str, ...] = ()) -> None:
        from ray import tune

        from inat.config.search import SearchConfig
        from inat.study.study import Study
        from inat.tuning.earlier.lessons import TRIALS, learn
        from inat.tuning.ray_backend.asha import asha_for
        from inat.tuning.rungs import Rungs
        from inat.tuning.sampling.options import SearcherOptions
        from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch

        space = {name: tune.choice(values) for name, values in SPACE.items()}
        lessons = learn(SearchConfig(data="digits", learn_from=learn_from), space, fingerprint="")
        learned: dict[str, Any] = (
            {"start_from": lessons.first, "earlier": lessons.record[TRIALS]} if lessons is not None else {}
        )
        self.study = Study.create(directory, {"config": {}})
        self._asha = asha_for(self.study, max_epochs=epochs, grace_period=3, reduction_factor=3)
        options = SearcherOptions(rungs=Rungs(3, 3, epochs), seed=seed, **learned)
        self._searcher = BudgetAwareOptunaSearch(self.study, space, options)
        self._epochs = epochs

    def ask(self) -> tuple[str, tuple[str, ...]]:
        """The id of the next trial, and the key of its network in the curves."""
        trial_id = self._searcher.next_trial_id()
        self._asha.on_trial_add(None, SimpleNamespace(trial_id=trial_id))
        params = self._searcher.suggest(trial_id)
        assert params is not None, "without a time budget, every trial is started"
        return trial_id, tuple(str(params[name]) for name in SPACE)

    def report(self, trial_id: str, epoch: int, best: float) -> bool:
        """Report the best accuracy up to ``epoch``; True if the trial has ended."""
        result = {"epoch": epoch, "best_val_acc": best}
        trial = SimpleNamespace(trial_id=trial_id)
        done = epoch == self._epochs
        if done:
            self._asha.on_trial_complete(None, trial, result)
        stopped = not done and self._asha.on_trial_result(None, trial, result) == "STOP"
        self.study.add_epoch(trial_id, result)
        if done or stopped:
            self.study.end_trial(trial_id, "completed" if done else "stopped")
        self._searcher.on_trial_update(self.study.trials[trial_id])
        return done or stopped


def simulate(search: Search, curves: Curves, seed: int, workers: int, epochs: int) -> NDArray[np.float64]:
    """Best accuracy found after each finished epoch of any worker, up to ``epochs`` of them."""
    speed = np.random.default_rng((seed, workers))
    running: list[tuple[float, str, int, NDArray[np.float64], float]] = []

    def start(now: float) -> None:
        trial_id, key = search.ask()
        pace = speed.uniform(0.8, 1.2)
        heapq.heappush(running, (now + pace, trial_id, 1, curves[key], pace))

    for _ in range(workers):
        start(0.0)
    seen = np.zeros(epochs)
    for spent in range(epochs):
        now, trial_id, epoch, curve, pace = heapq.heappop(running)
        seen[spent] = curve[epoch - 1]
        if search.report(trial_id, epoch, float(curve[epoch - 1])):
            start(now)
        else:
            heapq.heappush(running, (now + pace, trial_id, epoch + 1, curve, pace))
    return np.maximum.accumulate(seen)


def make_earlier_study(directory: Path, curves: Curves, seed: int) -> None:
    """Search another task, one trial after the other, into a study directory."""
    epochs = len(next(iter(curves.values())))
    search = Search(directory, seed + 1_000, epochs)
    for _ in range(EARLIER_TRIALS):
        trial_id, key = search.ask()
        epoch = 1
        while not search.report(trial_id, epoch, float(curves[key][epoch - 1])):
            epoch += 1
    search.study.close()


def run(task: tuple[str, int, int]) -> NDArray[np.float64]:
    """Run one search: (earlier study, workers, seed)."""
    earlier, workers, seed = task
    curves = load_curves()
    with tempfile.TemporaryDirectory() as folder:
        paths: tuple[str, ...] = ()
        if earlier != "none":
            make_earlier_study(Path(folder) / "earlier", earlier_task(earlier, curves, seed), seed)
            paths = (str(Path(folder) / "earlier"),)
        return simulate(Search(Path(folder) / "study", seed, EPOCHS, paths), curves, seed, workers, BUDGETS[-1])


def epochs_to(seen: NDArray[np.float64], target: float) -> float:
    """Epochs until ``target`` is reached; infinite if it never is."""
    return float(np.argmax(seen >= target) + 1) if seen[-1] >= target else float("inf")


def main() -> None:
    """Replay the searches, print a table, then the result line."""
    options = tyro.cli(Options)
    curves = load_curves()
    best = max(curve[-1] for curve in curves.values())
    tasks = [(earlier, options.workers, seed) for earlier in EARLIER for seed in options.every_seed]
    with ProcessPoolExecutor(options.processes) as pool:
        found = np.stack(list(pool.map(run, tasks)))
    table = dict(zip(EARLIER, found.reshape(len(EARLIER), options.seeds, BUDGETS[-1]), strict=True))
    cold = table["none"]
    targets = [float(np.median(cold[:, budget - 1])) for budget in BUDGETS]
    print(f"{len(curves)} networks, best accuracy {best:.4f}, {options.seeds} seeds, {options.workers} workers")
    print(
        f"regret in points after {BUDGETS} epochs, mean +- standard error (p); median epochs to the accuracies that the"
    )
    print(f"that the median search from scratch has then, {', '.join(f'{target:.4f}' for target in targets)}")
    fields = []
    for name, seen in table.items():
        cells, marks = [], []
        for budget in BUDGETS:
            regrets = 100 * (best - seen[:, budget - 1])
            difference = seen[:, budget - 1] - cold[:, budget - 1]
            p = wilcoxon(difference).pvalue if difference.any() else 1.0
            error = regrets.std(ddof=1) / np.sqrt(len(regrets))
            cells.append(f"{regrets.mean():.3f} +- {error:.3f} ({p:.2g})")
            marks.append(f"{name}_{budget}={regrets.mean():.3f} {name}_p_{budget}={p:.2g}")
        needed = [float(np.median([epochs_to(row, target) for row in seen])) for target in targets]
        print(f"{name:10}  {'  '.join(cells)}  {'  '.join(f'{epochs:5.0f}' for epochs in needed)}")
        fields += marks + [f"{name}_epochs_{budget}={each:.0f}" for budget, each in zip(BUDGETS, needed, strict=True)]
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
