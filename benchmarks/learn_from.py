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

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from record_curves import EPOCHS
from scipy.stats import wilcoxon
from search_quality import DEFAULT, simulate
from search_spaces import Benchmark, key_of, load, load_curves
from searches import InatSearch, Method

TRAININGS = (5, 10, 20)
BUDGETS = (135, 270, 540)  # epochs of so many complete trainings
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


def search_in(folder: Path, benchmark: Benchmark, seed: int, learn_from: tuple[str, ...] = ()) -> InatSearch:
    """inat's default search, learning from the studies in ``learn_from``; its own is in ``folder``/study."""
    from inat.config.search import SearchConfig
    from inat.tuning.earlier.lessons import TRIALS, learn

    lessons = learn(SearchConfig(data="digits", learn_from=learn_from), benchmark.space, fingerprint="")
    learned: dict[str, Any] = (
        {"start_from": lessons.first, "earlier": lessons.record[TRIALS]} if lessons is not None else {}
    )
    return InatSearch(Method.parse(DEFAULT), benchmark, seed, folder, **learned)


def make_earlier_study(folder: Path, benchmark: Benchmark, seed: int) -> None:
    """Search another task, one trial after the other, into ``folder``/study."""
    search = search_in(folder, benchmark, seed + 1_000)
    for _ in range(EARLIER_TRIALS):
        trial_id, params = search.ask()
        curve, epoch = benchmark.curve(params), 1
        while not search.report(trial_id, epoch, float(curve[epoch - 1])):
            epoch += 1
    search.close()


def run(task: tuple[str, int, int]) -> NDArray[np.float64]:
    """Run one search: (earlier study, workers, seed)."""
    earlier, workers, seed = task
    digits = replace(load("digits"), trainings=TRAININGS)
    with tempfile.TemporaryDirectory() as name:
        folder, paths = Path(name), tuple[str, ...]()
        if earlier != "none":
            curves = earlier_task(earlier, load_curves(), seed)
            task_before = replace(
                digits, epochs=len(next(iter(curves.values()))), curve=lambda params: curves[key_of(params)]
            )
            make_earlier_study(folder / "earlier", task_before, seed)
            paths = (str(folder / "earlier" / "study"),)
        return simulate(search_in(folder / "own", digits, seed, paths), digits, workers, seed)


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
