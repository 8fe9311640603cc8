"""What patience costs a search: how many epochs it saves, and how good the best configuration found is.

    python benchmarks/patience.py
    python benchmarks/patience.py --spaces digits --patience 5 8 12 --seeds 1000

Replays recorded learning curves of 27 epochs (benchmarks/search_spaces.py), so it needs no training. A search tries the
configurations in random order, one at a time; ASHA compares them after 3 and 9 epochs and keeps a third, and a trial
ends after so many epochs without a better value. "gain" is what the best value of the search has, in points, above that
of the same search with --reference, at the same epochs of all trials together: the mean over the seeds, with the 95 %
interval of Student's t. "ended" is the share of configurations that patience ends before the last epoch, "lost" how
many points of their best value they lose by it on average.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tyro
from intervals import Mean
from measure import hardware
from search_spaces import Array, Name, load_curves

RUNGS, FACTOR = (3, 9), 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """Replay searches with several values of patience."""

    spaces: tuple[Name, ...] = ("digits", "boosting", "mlp")
    patience: tuple[int, ...] = (3, 5, 8, 12, 27)
    reference: int = 5
    """Patience that the others are compared with."""
    budgets: tuple[int, ...] = (200, 400, 800, 1600)
    """Epochs of all trials together at which searches are compared."""
    seeds: int = 300
    """Orders of the configurations."""


def last_epochs(curves: Array, patience: int) -> npt.NDArray[np.int64]:
    """The epoch at which each curve ends; ``curves`` (N, epochs) are the best values up to each epoch.

    >>> last_epochs(np.array([[0.1, 0.2, 0.2, 0.2, 0.3]]), patience=2).tolist()
    [4]
    """
    epochs = curves.shape[1]
    better = np.diff(curves, axis=1, prepend=-np.inf) > 0
    latest = np.maximum.accumulate(np.where(better, np.arange(1, epochs + 1), 0), axis=1)
    out = np.arange(1, epochs + 1) - latest >= patience
    return np.asarray(np.where(out.any(axis=1), out.argmax(axis=1) + 1, epochs))


def best_values(curves: Array, order: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], budget: int) -> Array:
    """The best value of a search after each of ``budget`` epochs."""
    found, best, spent = np.empty(budget), 0.0, 0
    rungs: dict[int, list[float]] = {rung: [] for rung in RUNGS}
    for curve, end in zip(curves[order], ends[order], strict=True):
        for epoch in range(1, int(end) + 1):
            value = float(curve[epoch - 1])
            best = max(best, value)
            found[spent] = best
            spent += 1
            if spent == budget:
                return found
            if epoch in rungs:
                before = rungs[epoch]
                stopped = bool(before) and value < np.quantile(before, 1 - 1 / FACTOR)
                before.append(value)
                if stopped:
                    break
    found[spent:] = best
    return found


def searches(curves: Array, patience: int, options: Options) -> Array:
    """The best value of each search (seeds, budgets)."""
    ends, most = last_epochs(curves, patience), max(options.budgets)
    orders = (np.random.default_rng(seed).permutation(len(curves)) for seed in range(options.seeds))
    places = np.array(options.budgets) - 1
    return np.stack([best_values(curves, order, ends, most)[places] for order in orders])


def compare(space: Name, options: Options) -> list[str]:
    """Print the table of a space; return the fields of the result line."""
    curves = np.stack(list(load_curves(space).values()))
    print(f"\n{space}: {len(curves)} configurations, {curves.shape[1]} epochs")
    reference = searches(curves, options.reference, options)
    fields = []
    for patience in options.patience:
        ends = last_epochs(curves, patience)
        reached = curves[np.arange(len(curves)), ends - 1]
        lost = 100 * float((curves[:, -1] - reached).mean())
        gains = 100 * (searches(curves, patience, options) - reference)
        means = {budget: Mean.of(gains[:, i].tolist()) for i, budget in enumerate(options.budgets)}
        print(
            f"patience {patience:3}: ended {(ends < curves.shape[1]).mean():4.0%}, lost {lost:4.2f}, gain "
            + ", ".join(f"{mean.text('+.2f')} at {budget}" for budget, mean in means.items())
        )
        fields += _fields(space, patience, means)
    return fields


def _fields(space: str, patience: int, means: Mapping[int, Mean]) -> list[str]:
    return [mean.fields(f"{space}_{patience}_at_{budget}", "+.3g") for budget, mean in means.items()]


def main() -> None:
    """Print a table per space, then the result line."""
    options = tyro.cli(Options)
    print(f"{hardware()}\n{options}")
    print("result:", *(field for space in options.spaces for field in compare(space, options)))


if __name__ == "__main__":
    main()
