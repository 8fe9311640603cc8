"""Compare searches by their result per epoch spent, replayed on recorded learning curves without training.

    python benchmarks/search_quality.py                       # all methods, 20 seeds, 1, 4 and 16 workers
    python benchmarks/search_quality.py --compare settings    # inat: grace period, factor, value of a stopped trial

The curves (benchmarks/record_curves.py) cover all 648 networks of a space on the digits, so every configuration that a
searcher suggests has a recorded curve. Workers run in parallel in simulated time; an epoch takes 0.8 to 1.2 units.
Regret is the best validation accuracy of all 648 networks minus the best one found after a given number of epochs of
all workers together. "stock" is Ray's OptunaSearch with ASHAScheduler, with Ray's defaults (grace period 1, factor 4)
and with inat's (3, 3). Searchers and schedulers are the real ones.
"""

import csv
import heapq
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from record_curves import CURVES, EPOCHS, SPACE, configurations
from scipy.stats import spearmanr, wilcoxon
from searches import InatSearch, Method, RaySearch, Search

BUDGETS = (270, 810, 1620)  # epochs: 10, 30 and 60 complete trainings
Curves = dict[tuple[str, ...], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches."""

    seeds: int = 20
    workers: tuple[int, ...] = (1, 4, 16)
    compare: Literal["methods", "settings"] = "methods"


METHODS = [
    Method("random", None), Method("random", (3, 3)), Method("tpe", None), Method("stock", (1, 4)),
    Method("stock", (3, 3)), Method("extrapolate", (3, 3)),
]  # fmt: skip
SETTINGS = [
    Method(policy, asha)
    for policy in ("extrapolate", "last", "pruned")
    for asha in ((1, 3), (1, 4), (3, 3), (3, 4))
]  # fmt: skip


def load_curves() -> Curves:
    """Best validation accuracy up to each epoch, by hyperparameters as text; after a divergence it stays constant."""
    with CURVES.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    curves = {}
    for row in rows:
        values = [float(value) for value in row[len(SPACE) :]]
        best = np.maximum.accumulate(np.array(values or [0.0]))
        curves[tuple(row[: len(SPACE)])] = np.pad(best, (0, EPOCHS - len(best)), mode="edge")
    wanted = len(list(configurations()))
    if len(curves) < wanted:
        sys.exit(f"{CURVES} has {len(curves)} of {wanted} networks; run benchmarks/record_curves.py first")
    return curves


def key_of(params: dict[str, Any]) -> tuple[str, ...]:
    """The key of these hyperparameters in the curves."""
    return tuple(str(params[name]) for name in SPACE)


def simulate(search: Search, curves: Curves, workers: int, seed: int) -> NDArray[np.float64]:
    """Best accuracy found after each finished epoch of any worker, up to the largest budget."""
    speed = np.random.default_rng((seed, workers))
    running: list[tuple[float, str, int, NDArray[np.float64], float]] = []

    def start(now: float) -> None:
        trial_id, params = search.ask()
        pace = speed.uniform(0.8, 1.2)
        heapq.heappush(running, (now + pace, trial_id, 1, curves[key_of(params)], pace))

    for _ in range(workers):
        start(0.0)
    seen = np.zeros(BUDGETS[-1])
    for spent in range(BUDGETS[-1]):
        now, trial_id, epoch, curve, pace = heapq.heappop(running)
        seen[spent] = curve[epoch - 1]
        if search.report(trial_id, epoch, float(curve[epoch - 1])):
            start(now)
        else:
            heapq.heappush(running, (now + pace, trial_id, epoch + 1, curve, pace))
    return np.maximum.accumulate(seen)


def run(task: tuple[Method, int, int]) -> NDArray[np.float64]:
    """Run one search: (method, workers, seed)."""
    method, workers, seed = task
    curves = load_curves()
    with tempfile.TemporaryDirectory() as folder:
        standard = method.searcher in ("random", "tpe", "stock")
        search: Search = RaySearch(method, seed) if standard else InatSearch(method, seed, Path(folder))
        return simulate(search, curves, workers, seed)


def print_correlations(curves: Curves) -> None:
    """Print rank correlations between epochs, over all networks and over the better half."""
    table = np.stack(list(curves.values()))
    good = table[:, -1] >= np.median(table[:, -1])
    for early, late in itertools.combinations((1, 3, 9, EPOCHS), 2):
        every, half = (spearmanr(t[:, early - 1], t[:, late - 1]).statistic for t in (table, table[good]))
        print(f"rank correlation of epoch {early:2} with {late:2}: {every:.3f}, in the better half {half:.3f}")


def epochs_to(seen: NDArray[np.float64], target: float) -> float:
    """Epochs until ``target`` is reached; infinite if it never is."""
    return float(np.argmax(seen >= target) + 1) if seen[-1] >= target else float("inf")


def main() -> None:
    """Replay the searches, print one table per number of workers, then the result line."""
    options = tyro.cli(Options)
    curves = load_curves()
    best = max(curve[-1] for curve in curves.values())
    print(
        f"{len(curves)} networks, best validation accuracy {best:.4f}, {options.seeds} seeds, budgets {BUDGETS} epochs"
    )
    print_correlations(curves)
    methods = METHODS if options.compare == "methods" else SETTINGS
    fields: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for workers in options.workers:
            tasks = [(method, workers, seed) for method in methods for seed in range(options.seeds)]
            found = list(pool.map(run, tasks))
            table = {m: np.stack(found[i * options.seeds : (i + 1) * options.seeds]) for i, m in enumerate(methods)}
            fields += report(table, best, workers)
    print("result: " + " ".join(fields))


def report(table: dict[Method, NDArray[np.float64]], best: float, workers: int) -> Iterator[str]:
    """Print one table of regrets in percentage points; yields the fields of the result line."""
    reference = next((m for m in table if m.searcher == "tpe"), next(iter(table)))
    target = float(np.median(table[reference][:, -1]))
    stock = next((m for m in table if m.searcher == "stock"), None)
    print(f"\n{workers} workers: regret in percentage points after {BUDGETS} epochs, mean +- standard error; median "
          f"epochs to {target:.4f}, the median end of '{reference}'")  # fmt: skip
    for method, seen in table.items():
        regrets = 100 * (best - seen[:, [budget - 1 for budget in BUDGETS]])
        error = regrets.std(0, ddof=1) / np.sqrt(len(regrets))
        cells = "  ".join(f"{m:.3f} +- {e:.3f}" for m, e in zip(regrets.mean(0), error, strict=True))
        needed = float(np.median([epochs_to(row, target) for row in seen]))
        print(f"{method!s:26} {cells}  {needed:6.0f}{against(stock, method, table)}")
        name = str(method).replace(" + ASHA ", "_").replace(", no ASHA", "").replace("/", "_").replace(" ", "_")
        yield f"{name}_w{workers}={regrets.mean(0)[-1]:.3f} {name}_w{workers}_epochs={needed:.0f}"


def against(stock: Method | None, method: Method, table: dict[Method, NDArray[np.float64]]) -> str:
    """Whether a method differs from "stock" at each budget: sign and p of Wilcoxon's signed-rank test over seeds."""
    if stock is None or method == stock:
        return ""
    marks = []
    for budget in BUDGETS:
        difference = table[method][:, budget - 1] - table[stock][:, budget - 1]
        p = wilcoxon(difference).pvalue if difference.any() else 1.0
        marks.append(f"{'+' if difference.mean() > 0 else '-'}{p:.2g}")
    return "  p against stock " + " ".join(marks)


if __name__ == "__main__":
    main()
