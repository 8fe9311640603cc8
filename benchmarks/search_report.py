"""Tables and figures of benchmarks/search_quality.py."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from analysis.stats.resampling import bootstrap_means, holm, percentile_interval

if TYPE_CHECKING:
    from search_spaces import Benchmark

POINTS = 30  # at which the regret of a replay is kept, evenly over the largest budget
Array = NDArray[np.float64]
Cell = tuple[str, int, str, int]  # space, workers, method, position of the budget


@dataclass(frozen=True, slots=True)
class Replay:
    """One search: ``regrets`` in percentage points at POINTS numbers of epochs."""

    space: str
    method: str
    workers: int
    seed: int
    regrets: list[float]

    @property
    def task(self) -> tuple[str, str, int, int]:
        """What was run."""
        return self.space, self.method, self.workers, self.seed

    def as_json(self) -> str:
        """One line of a file of replays."""
        return json.dumps(dataclasses.asdict(self))


def points_of(budgets: Sequence[int]) -> list[int]:
    """The positions of the budgets among the points."""
    return [round(POINTS * budget / budgets[-1]) - 1 for budget in budgets]


def by_method(replays: Sequence[Replay]) -> dict[str, Array]:
    """The regrets of each method, one row per seed, in order of seed."""
    found: dict[str, dict[int, list[float]]] = {}
    for each in replays:
        found.setdefault(each.method, {})[each.seed] = each.regrets
    return {method: np.array([rows[seed] for seed in sorted(rows)]) for method, rows in found.items()}


def interval(values: Array) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over seeds."""
    return percentile_interval(bootstrap_means(values), len(values))


def print_table(replays: Sequence[Replay], budgets: Sequence[int]) -> None:
    """Print the mean regret of each method at each budget, with its interval, for one space and number of workers."""
    if not replays:
        return
    print(f"{replays[0].workers} workers: regret in percentage points after {tuple(budgets)} epochs, 95 % intervals")
    for method, regrets in by_method(replays).items():
        cells = (regrets[:, point] for point in points_of(budgets))
        texts = ("{:6.2f} ({:5.2f} to {:5.2f})".format(values.mean(), *interval(values)) for values in cells)
        print(f"  {method:16} {'  '.join(texts)}  n={len(regrets)}")


def compare(replays: Sequence[Replay], reference: str, points: Sequence[int]) -> dict[Cell, tuple[float, float]]:
    """By how much less regret the reference has than each other method, and p of Wilcoxon's signed-rank test.

    ``points`` are the positions of the budgets, which are the same shares of the largest one in each space.
    """
    cells = {}
    for space, workers in dict.fromkeys((each.space, each.workers) for each in replays):
        table = by_method([each for each in replays if (each.space, each.workers) == (space, workers)])
        for method, regrets in table.items():
            if method == reference or reference not in table:
                continue
            for number, point in enumerate(points):
                less = regrets[:, point] - table[reference][:, point]
                p = float(wilcoxon(less).pvalue) if less.any() else 1.0
                cells[space, workers, method, number] = (float(less.mean()), p)
    return cells


def wins(replays: Sequence[Replay], reference: str) -> str:
    """The table of wins and losses of the reference: the cells of each pair of methods are one family of Holm's."""
    from search_spaces import load

    cells: dict[Cell, tuple[float, float]] = {}
    for space in dict.fromkeys(each.space for each in replays):
        points = points_of(load(space).budgets)
        cells |= compare([each for each in replays if each.space == space], reference, points)
    lines = [f"\n{reference} against each method: cells (space x workers x budget) in which it has significantly less "
             "regret (Holm over the cells of the pair, 5 %), more, and neither; without correction"]  # fmt: skip
    for method in dict.fromkeys(cell[2] for cell in cells):
        own = [cell for cell in cells if cell[2] == method]
        corrected = holm([cells[cell][1] for cell in own])
        plain = [cells[cell][1] for cell in own]
        held, raw = (
            [np.sign(cells[cell][0]) * (p <= 0.05) for cell, p in zip(own, values, strict=True)]
            for values in (corrected, plain)
        )
        lines.append(f"  {method:16} {_counts(held)}; {_counts(raw)}")
        lines += [f"      {'wins' if sign > 0 else 'LOSES'} {cell[0]}, {cell[1]} workers, budget {cell[3] + 1}: "
                  f"{cells[cell][0]:+.2f} points, p {p:.2g}"
                  for cell, sign, p in zip(own, held, corrected, strict=True) if sign]  # fmt: skip
    return "\n".join(lines)


def _counts(signs: Sequence[float]) -> str:
    better, worse = sum(sign > 0 for sign in signs), sum(sign < 0 for sign in signs)
    return f"{better} wins, {worse} losses, {len(signs) - better - worse} neither"


def draw(replays: Sequence[Replay], benchmark: "Benchmark", file: Path) -> None:
    """Draw the mean regret of each method against epochs, with its interval; one panel per number of workers."""
    import matplotlib.pyplot as plt

    panels = list(dict.fromkeys(each.workers for each in replays))
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4), sharey=True, squeeze=False)
    epochs = np.arange(1, POINTS + 1) * benchmark.budgets[-1] / POINTS
    for axis, workers in zip(axes[0], panels, strict=True):
        for method, regrets in by_method([each for each in replays if each.workers == workers]).items():
            low, high = np.transpose([interval(values) for values in regrets.T])
            (line,) = axis.plot(epochs, regrets.mean(0), label=method)
            axis.fill_between(epochs, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        axis.set(title=f"{benchmark.name}, {workers} workers", xlabel="epochs of all workers", yscale="symlog")
        axis.set_ylim(bottom=0)
    axes[0][0].set_ylabel("regret in percentage points")
    axes[0][-1].legend(fontsize="small")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)
