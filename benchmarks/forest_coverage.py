"""How often 95 % intervals about a random forest hold the truth, on spaces whose configurations have known results.

    python benchmarks/forest_coverage.py                # some twenty minutes on one core

The forest of each random sample predicts all configurations that it has not seen, or 1,500 of them; the truth is how
well it does so. Results are those of the third epoch, of nasbench the final ones; "hartmann" is 4,000 random points.
noise: the deviation of noise added to the results, seen and unseen, in deviations of the results; "shuffled": results
that have nothing to do with the settings.

R^2 "rounds": the t interval of 20 bootstrap rounds, as earlier versions showed; "errors": that of log(1 - R^2) from the
out-of-bag errors and deviations of the trials (delta method); "wider": 1.3 times that.
rank, Spearman's correlation of predictions and results: "plain": Bonett and Wright's interval; "shown": with 1.3 times
the standard error of a bootstrap, or theirs if it is larger, as in `analysis.stats.forest`.
above_0: how often the interval is above 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import tyro
from interval_coverage import Space
from numpy.typing import NDArray
from scipy import stats
from search_spaces import Name, load
from sklearn.metrics import r2_score

from analysis.comparable import ACCURACY
from analysis.stats.correlation import spearman_interval
from analysis.stats.encode import encode
from analysis.stats.forest import ORDER_INFLATION, ROUND_TREES, ROUNDS, fit_forest, order_of
from analysis.stats.resampling import CONFIDENCE, bootstrap_indices, t_interval

UNSEEN = 1500
POINTS = 4000  # of hartmann
SHUFFLED = "shuffled"
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the coverage of intervals about forests."""

    spaces: tuple[Name, ...] = ("boosting", "mlp", "nasbench", "hartmann", "digits")
    trials: tuple[int, ...] = (24, 60)
    noise: tuple[str, ...] = ("0", "1", SHUFFLED)
    seeds: int = 30
    first_seed: int = 1000
    """Seeds 0 to 99 served to find the factor 1.3."""
    rounds: bool = True
    """Measure the earlier interval too, which takes most of the time."""


@dataclass(frozen=True)
class Forest:
    """A forest of one sample: encoded ``columns``, ``results`` and out-of-bag predictions ``unseen`` of the trials."""

    columns: Array
    results: Array
    unseen: Array

    def r2_intervals(self, rounds: bool) -> Iterator[tuple[str, float, float]]:
        """Name and ends of each interval of R^2."""
        n, r2 = len(self.results), float(r2_score(self.results, self.unseen))
        if rounds:
            yield "rounds", *t_interval(r2, np.array([self._round(s, d) for s, d in enumerate(_drawn(n))]), highest=1.0)
        errors, deviations = (self.results - self.unseen) ** 2, (self.results - self.results.mean()) ** 2
        spread = np.std(errors / errors.mean() - deviations / deviations.mean(), ddof=1) / n**0.5
        for name, factor in (("errors", 1.0), ("wider", ORDER_INFLATION)):
            reach = factor * spread * stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
            yield name, 1 - (1 - r2) * np.exp(reach), 1 - (1 - r2) * np.exp(-reach)

    def _round(self, seed: int, drawn: Any) -> float:
        outside = np.setdiff1d(np.arange(len(self.results)), drawn)
        model = fit_forest(self.columns[drawn], self.results[drawn], ROUND_TREES, seed)
        truth = self.results[outside]
        return float(r2_score(truth, model.predict(self.columns[outside]))) if np.ptp(truth) else float("nan")

    def rank_intervals(self) -> Iterator[tuple[str, float, float]]:
        """Name and ends of each interval of the rank correlation."""
        found = float(stats.spearmanr(self.results, self.unseen).statistic)
        yield "plain", *spearman_interval(found, len(self.results))
        yield "shown", *order_of(self.results, self.unseen)[1:]


def _drawn(n: int) -> Any:
    return bootstrap_indices(n, ROUNDS)


def space_of(name: Name) -> Space:
    """A space with all of its configurations, or POINTS of them."""
    if name != "hartmann":
        return Space.load(name)
    random, benchmark = np.random.default_rng(0), load(name)
    points = [{key: float(random.random()) for key in benchmark.space} for _ in range(POINTS)]
    rows = [point | {ACCURACY: float(benchmark.curve(point)[2])} for point in points]
    return Space(name, pd.DataFrame(rows), {key: [] for key in benchmark.space})


def rows_of(space: Space, trials: int, noise: str, seed: int, rounds: bool) -> Iterator[dict[str, Any]]:
    """One row per interval of the forest of one random sample."""
    random, known = np.random.default_rng([trials, seed]), space.table[ACCURACY].to_numpy()
    places = random.choice(len(known), trials, replace=False)
    others = random.permutation(np.setdiff1d(np.arange(len(known)), places))[:UNSEEN]
    seen, new = known[places], known[others]
    if noise == SHUFFLED:
        seen, new = random.permutation(seen), random.permutation(new)
    else:
        spread = float(noise) * known.std()
        seen, new = (values + spread * random.normal(size=len(values)) for values in (seen, new))
    columns = encode(space.table.iloc[[*places, *others]], space.parameters)[0].to_numpy()
    model = fit_forest(columns[:trials], seen)
    predicted, forest = model.predict(columns[trials:]), Forest(columns[:trials], seen, model.oob_prediction_)
    truths = {"R^2": float(r2_score(new, predicted)), "rank": float(stats.spearmanr(new, predicted).statistic)}
    found = {"R^2": forest.r2_intervals(rounds), "rank": forest.rank_intervals()}
    for of, intervals in found.items():
        for method, low, high in intervals:
            yield {"of": of, "method": method, "holds": float(low <= truths[of] <= high), "width": high - low,
                   "above_0": float(low > 0), "truth": truths[of]}  # fmt: skip


def main() -> None:
    """Print a table per space, number of trials and noise, then the result line."""
    options, fields = tyro.cli(Options), []
    for name in options.spaces:
        space = space_of(name)
        for trials in options.trials:
            for noise in options.noise:
                seeds = range(options.first_seed, options.first_seed + options.seeds)
                rows = [row for seed in seeds for row in rows_of(space, trials, noise, seed, options.rounds)]
                table = pd.DataFrame(rows).groupby(["of", "method"], sort=False)
                means = table.mean().assign(median_width=table["width"].median())
                print(f"\n{name}, {trials} trials, noise {noise}\n{means.round(3).to_string()}", flush=True)
                fields += [
                    f"{name}_{trials}_{noise}_{method}={row['holds']:.2f}" for (_, method), row in means.iterrows()
                ]
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
