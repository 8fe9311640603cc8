"""How often 95 % intervals of `analysis` hold the truth, on spaces whose every configuration has a known result.

    python benchmarks/interval_coverage.py                          # some ten minutes

Samples are drawn at random (with replacement) from the recorded tables of search_spaces.py, or are what inat's TPE with
ASHA (grace period 3, factor 3) tries; results are those of the third epoch, of nasbench the final ones.

Effects: each pair of values of each hyperparameter that at least 3 trials have. There are two truths: the difference
averaged over all configurations of the space, and averaged over the settings that the sample visited. "before": HC3
errors with all degrees of freedom of the model; "after": with those of Bell and McCaffrey. score: the interval score of
Gneiting and Raftery (JASA 102, 2007) in standard deviations of the space's results: the width, plus 40 times the
distance of a truth outside; lower is better.

The intervals of the forest: benchmarks/forest_coverage.py.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import record_curves
import record_tables
import tyro
from analysis_truth import FACTOR, GRACE
from scipy import stats
from search_spaces import Name, load, load_curves
from searches import InatSearch, Method

from analysis.comparable import ACCURACY, Sample
from analysis.stats.regression import Effect, design_without, effect_with_interval, fit_linear_model
from analysis.stats.resampling import CONFIDENCE

RANDOM, SEARCH = "random", "search"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the coverage of intervals."""

    spaces: tuple[Name, ...] = ("boosting", "mlp", "nasbench", "digits")
    trials: tuple[int, ...] = (40, 60, 240)
    seeds: int = 30
    searches: int = 20
    search_trials: int = 60


@dataclass(frozen=True)
class Space:
    """All configurations of a space with their results; ``values`` are the values of each hyperparameter."""

    name: Name
    table: pd.DataFrame
    values: dict[str, list[Any]]

    @classmethod
    def load(cls, name: Name) -> "Space":
        """The space ``name`` at the third epoch, or at the end of tables with final results only."""
        values = record_curves.SPACE if name == "digits" else record_tables.SPACES[name]  # type: ignore[index]
        parsed = {key: {str(value): value for value in known} for key, known in values.items()}
        epoch = min(GRACE, load(name).epochs) - 1
        rows = [
            {key: parsed[key][text] for key, text in zip(values, texts, strict=True)} | {ACCURACY: curve[epoch]}
            for texts, curve in load_curves(name).items()
        ]
        return cls(name, pd.DataFrame(rows), dict(values))

    @property
    def parameters(self) -> list[str]:
        """The hyperparameters."""
        return list(self.values)

    def sample(self, places: Any) -> Sample:
        """The configurations at these places of the table as trials."""
        trials = self.table.iloc[places].reset_index(drop=True)
        varying = [name for name in self.parameters if trials[name].nunique() > 1]
        return Sample(trials, varying, GRACE, len(trials))

    def searched(self, trials: int, seed: int) -> list[int]:
        """The places of the configurations that a search tries, one trial after the other."""
        place = {tuple(map(str, row)): at for at, row in enumerate(self.table[self.parameters].itertuples(index=False))}
        benchmark, found = load(self.name), []
        with tempfile.TemporaryDirectory() as folder:
            search = InatSearch(Method("extrapolate", (GRACE, FACTOR)), benchmark, seed, Path(folder))
            for _ in range(trials):
                trial_id, params = search.ask()
                found.append(place[tuple(str(params[name]) for name in self.parameters)])
                for epoch, value in enumerate(benchmark.curve(params), start=1):
                    if search.report(trial_id, epoch, float(value)):
                        break
            search.close()
        return found

    def mean_with(self, name: str, value: Any, visited: pd.DataFrame | None = None) -> float:
        """The mean result with ``value``: of all configurations, or of the ``visited`` ones changed to have it."""
        if visited is None:
            return float(self.table.loc[self.table[name].eq(value), ACCURACY].mean())
        changed = visited[self.parameters].assign(**{name: value})
        return float(changed.merge(self.table, on=self.parameters, how="left")[ACCURACY].mean())


def effects(space: Space, sample: Sample) -> Iterator[dict[str, Any]]:
    """One row per pair of values, method and truth."""
    deviation = space.table[ACCURACY].std()
    for name in sample.parameters:
        fixed = design_without(sample, [name])
        present = [value for value in space.values[name] if sample.trials[name].eq(value).sum() >= 3]
        means = {truth: {value: space.mean_with(name, value, visited) for value in present}
                 for truth, visited in (("space", None), ("visited", sample.trials))}  # fmt: skip
        for at, value in enumerate(present):
            for other in present[at + 1 :]:
                first, second = (sample.trials[name].eq(one).to_numpy() for one in (value, other))
                rest = ~(first | second)
                groups = np.column_stack([first, rest] if rest.any() else [first]).astype(float)
                model = fit_linear_model(np.hstack([groups, fixed]), sample.trials[ACCURACY].to_numpy())
                after = model.contrast(np.eye(1, groups.shape[1] + fixed.shape[1])[0])
                found = {"before": with_all_degrees(after, model.degrees_of_freedom), "after": after}
                yield from (
                    {"method": method, "truth": truth, **judged(effect, mean[value] - mean[other], deviation)}
                    for truth, mean in means.items()
                    for method, effect in found.items()
                    if effect.low == effect.low
                )


def with_all_degrees(effect: Effect, degrees_of_freedom: float) -> Effect:
    """The interval from the same standard error with the degrees of freedom of the whole model."""
    error = (effect.high - effect.low) / 2 / float(stats.t.ppf((1 + CONFIDENCE) / 2, effect.degrees_of_freedom))
    return effect_with_interval(effect.value, error, degrees_of_freedom)


def judged(effect: Effect, true: float, deviation: float) -> dict[str, float]:
    """Whether the interval holds the truth, its width and its score."""
    miss = max(effect.low - true, true - effect.high, 0.0)
    width = effect.high - effect.low
    return {"holds": float(miss == 0), "width": width / deviation, "score": (width + 40 * miss) / deviation}


def summarised(rows: Iterator[dict[str, Any]], by: list[str]) -> pd.DataFrame:
    """The means by method."""
    return pd.DataFrame(rows).groupby(by, sort=False).mean(numeric_only=True)


def main() -> None:
    """Print a table per space and number of trials, then the result line."""
    options, fields = tyro.cli(Options), []
    for name in options.spaces:
        space = Space.load(name)
        drawn = {(RANDOM, n): [np.random.default_rng(s).integers(0, len(space.table), n) for s in range(options.seeds)]
                 for n in options.trials}  # fmt: skip
        if options.searches:
            n = options.search_trials
            drawn[SEARCH, n] = [np.array(space.searched(n, seed)) for seed in range(options.searches)]
        for (how, n), samples in drawn.items():
            table = summarised((row for p in samples for row in effects(space, space.sample(p))), ["truth", "method"])
            print(f"\neffects: {name}, {n} trials, {how}, {len(samples)} samples\n{table.round(3).to_string()}")
            fields += [
                f"{name}_{how}_{n}_{truth}_{method}={row['holds']:.3f}" for (truth, method), row in table.iterrows()
            ]
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
