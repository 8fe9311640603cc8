"""Compare searches by their result per epoch spent, replayed on known learning curves without training.

    python benchmarks/search_quality.py                                  # all methods and spaces, 20 seeds
    python benchmarks/search_quality.py --keep runs.jsonl --figures out  # keeps each replay and goes on from there
    python benchmarks/search_quality.py --methods "last 3/3" "rung 3/3" --reference "rung 3/3" --spaces mlp

The spaces and where their curves come from: benchmarks/search_spaces.py. Workers run in parallel in simulated time; an
epoch takes 0.8 to 1.2 units. Regret is the best value of the space minus the best one found after a given number of
epochs of all workers together. All methods have the same seeds and paces. Searchers and schedulers are the real ones:
"random" and "stock" are Ray's OptunaSearch with ASHAScheduler (grace period/factor), with Ray's defaults (1/4) and with
inat's (3/3); "hyperband" is Optuna's TPE with its Hyperband pruner; "smac" and "smac-hb" are SMAC3, if it is installed
(smac_search.py). The others are inat with a policy of --stopped-trials; trials have no patience.
"""

import heapq
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.progress import track
from scipy.stats import spearmanr
from search_report import POINTS, Replay, draw, print_table, wins
from search_spaces import NAMES, Array, Benchmark, Name, load
from searches import OPTUNA, Method, Search, search_of
from smac_search import SMAC_HYPERBAND, SmacSearch

from inat.config.search import SearchConfig

DEFAULT = f"{SearchConfig.__dataclass_fields__['stopped_trials'].default} 3/3"
PEERS = ("random", "random 3/3", "stock", "stock 1/4", "stock 3/3", "hyperband")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches."""

    seeds: int = 20
    workers: tuple[int, ...] = (4, 16)
    spaces: tuple[Name, ...] = NAMES
    methods: tuple[str, ...] = (*PEERS, DEFAULT)
    processes: int = os.cpu_count() or 1
    reference: str = DEFAULT
    """The method that the others are compared with."""
    keep: Path | None = None
    """Keep each replay in this file, and take over those that it has."""
    figures: Path | None = None
    """Folder for one figure per space."""


def simulate(search: Search, benchmark: Benchmark, workers: int, seed: int) -> Array:
    """Best value found after each finished epoch of any worker, up to the largest budget."""
    speed = np.random.default_rng((seed, workers))
    running: list[tuple[float, str, int, Array, float]] = []

    def start(now: float) -> None:
        trial_id, params = search.ask()
        pace = speed.uniform(0.8, 1.2)
        first = search.first_epoch(trial_id) if isinstance(search, SmacSearch) else 1
        heapq.heappush(running, (now + pace, trial_id, first, benchmark.curve(params), pace))

    for _ in range(workers):
        start(0.0)
    seen = np.zeros(benchmark.budgets[-1])
    for spent in range(len(seen)):
        now, trial_id, epoch, curve, pace = heapq.heappop(running)
        seen[spent] = curve[epoch - 1]
        if search.report(trial_id, epoch, float(curve[epoch - 1])):
            start(now)
        else:
            heapq.heappush(running, (now + pace, trial_id, epoch + 1, curve, pace))
    return np.maximum.accumulate(seen)


def replay(task: tuple[Name, str, int, int]) -> Replay:
    """Run one search: (space, method, workers, seed)."""
    name, method, workers, seed = task
    benchmark = load(name)
    with tempfile.TemporaryDirectory() as folder:
        search = search_of(Method.parse(method), benchmark, seed, Path(folder))
        seen = simulate(search, benchmark, workers, seed)
    at = np.linspace(0, len(seen), POINTS + 1).astype(int)[1:] - 1
    return Replay(name, method, workers, seed, [round(100 * (benchmark.best - value), 4) for value in seen[at]])


def is_sensible(name: Name, method: str) -> bool:
    """Whether a method can be replayed: without rungs there is no early stopping."""
    asked = Method.parse(method)
    early = asked.asha is not None or asked.searcher == SMAC_HYPERBAND
    return load(name).has_rungs or not early or asked.searcher not in (*OPTUNA, SMAC_HYPERBAND)


def kept(file: Path | None) -> Iterator[Replay]:
    """The replays that a file has."""
    if file is not None and file.exists():
        yield from (Replay(**json.loads(line)) for line in file.read_text().splitlines())


def run_all(options: Options) -> list[Replay]:
    """All replays that ``options`` ask for."""
    # Seeds come first, so that an interrupted run has some of every method.
    tasks = [
        (name, method, workers, seed)
        for seed, name, workers, method in itertools.product(
            range(options.seeds), options.spaces, options.workers, options.methods
        )
        if is_sensible(name, method)
    ]
    done = {each.task: each for each in kept(options.keep)}
    missing = [task for task in tasks if task not in done]
    with ProcessPoolExecutor(options.processes) as pool:
        for each in track(pool.map(replay, missing), "replaying", len(missing)):
            done[each.task] = each
            if options.keep is not None:
                with options.keep.open("a") as file:
                    file.write(each.as_json() + "\n")
    return [done[task] for task in tasks]


def print_correlations(name: Name) -> None:
    """Print rank correlations between epochs, over all configurations and over the better half."""
    benchmark = load(name)
    print(f"\n{name}: best value {benchmark.best:.4f}, budgets {benchmark.budgets} epochs")
    if not benchmark.has_rungs:
        return
    draws = np.random.default_rng(0)
    configurations = [{key: domain.sample(random_state=draws) for key, domain in benchmark.space.items()}
                      for _ in range(400)]  # fmt: skip
    table = np.stack([benchmark.curve(params) for params in configurations])
    good = table[:, -1] >= np.quantile(table[:, -1], 0.9)
    for early in (1, 3, 9):
        every, best = (spearmanr(t[:, early - 1], t[:, -1]).statistic for t in (table, table[good]))
        print(f"rank correlation of epoch {early} with {benchmark.epochs}: {every:.2f}, in the best tenth {best:.2f}")


def main() -> None:
    """Replay the searches, print one table per space and number of workers, then wins and losses."""
    options = tyro.cli(Options)
    replays = run_all(options)
    for name in options.spaces:
        print_correlations(name)
        for workers in options.workers:
            print_table([r for r in replays if (r.space, r.workers) == (name, workers)], load(name).budgets)
        if options.figures is not None:
            draw([r for r in replays if r.space == name], load(name), options.figures / f"search_{name}.png")
    print(wins(replays, options.reference))


if __name__ == "__main__":
    main()
