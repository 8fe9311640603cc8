"""Check the results of `analysis` against known truth: replay searches on recorded curves, then analyse them.

    python benchmarks/analysis_truth.py             # 15 searches of 60 trials and of 240, 320 forests; some minutes

inat's searcher with ASHA (grace period 3, factor 3) searches the 648 networks of benchmarks/data/digits16_curves.csv.
For each search and each pair of values of a parameter, the adjusted and the plain effect at the first and the last rung
are compared with the difference over all 648 networks. At the end: how often a forest ranks the strongest parameter
first, by its R^2 on left-out trials. benchmarks/control_trials.py measures what control trials show.
"""

import heapq
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from record_curves import EPOCHS, SPACE
from rich.progress import track
from search_spaces import Curves, key_of, load, load_curves
from searches import InatSearch, Method

from analysis.comparable import ACCURACY, Sample, sample_at
from analysis.stats import forest
from analysis.stats.effects import pairwise_effects
from analysis.stats.encode import level_labels
from analysis.stats.regression import welch_effect
from analysis.study import StudyData
from inat.constants import COMPLETED, STATE, STOPPED

GRACE, FACTOR = 3, 3
EDGES = [-np.inf, 0.0, 0.25, 0.6, 1.0]
FEW_ROUNDS = 6  # bootstrap rounds per forest: enough for a ranking


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare analysis with the truth."""

    seeds: int = 15
    trials: tuple[int, ...] = (60, 240)
    workers: int = 4
    forests: int = 320


def search(curves: Curves, trials: int, seed: int, workers: int) -> StudyData:
    """Run a search of ``trials`` with simulated workers; returns it as a study."""
    rows: dict[str, dict[str, Any]] = {}
    history = []
    with tempfile.TemporaryDirectory() as folder:
        searching = InatSearch(Method("extrapolate", (GRACE, FACTOR)), load("digits"), seed, Path(folder))
        running: list[tuple[int, str, int]] = []
        for now in range(trials * EPOCHS):
            while len(running) < workers and len(rows) < trials:
                trial_id, params = searching.ask()
                rows[trial_id] = {"trial_id": trial_id, **{name: params[name] for name in SPACE}}
                heapq.heappush(running, (now, trial_id, 1))
            if not running:
                break
            _, trial_id, epoch = heapq.heappop(running)
            value = float(curves[key_of(rows[trial_id])][epoch - 1])
            history.append({"trial_id": trial_id, "epoch": epoch, "val_acc": value, "val_loss": np.nan, "seconds": 1.0})
            rows[trial_id] |= {"epochs": epoch, "best_val_acc": value}
            if searching.report(trial_id, epoch, value):
                rows[trial_id][STATE] = COMPLETED if epoch == EPOCHS else STOPPED
            else:
                heapq.heappush(running, (now + workers, trial_id, epoch + 1))
    config = {"grace_period": GRACE, "reduction_factor": FACTOR, "max_epochs": EPOCHS}
    return StudyData(pd.DataFrame(rows.values()), pd.DataFrame(history), {"config": config}, list(SPACE))


def networks(curves: Curves, epochs: int) -> Sample:
    """All 648 networks at ``epochs``."""
    parsed = {name: {str(value): value for value in values} for name, values in SPACE.items()}
    rows = [
        {name: parsed[name][text] for name, text in zip(SPACE, key, strict=True)} | {ACCURACY: curve[epochs - 1]}
        for key, curve in curves.items()
    ]
    return Sample(pd.DataFrame(rows), list(SPACE), epochs, len(rows))


def coverage(study: StudyData, whole: Sample) -> pd.DataFrame:
    """One row per pair of values of a parameter: whether the adjusted and the plain interval contain the truth."""
    assert whole.epochs
    sample = sample_at(study, whole.epochs)
    rows = []
    for pair in pairwise_effects(sample).itertuples():
        means = whole.trials[ACCURACY].groupby(level_labels(whole.trials[pair.parameter]), observed=True).mean()
        truth = means[pair.value] - means[pair.other]
        labels = level_labels(sample.trials[pair.parameter])
        groups = [sample.trials[ACCURACY][labels.eq(value)].to_numpy() for value in (pair.value, pair.other)]
        if min(map(len, groups)) < 3:
            continue
        plain = welch_effect(groups[0], groups[1])
        significant = pair.adjusted_p_holm <= 0.05
        rows.append(
            {"adjusted": pair.adjusted_low <= truth <= pair.adjusted_high, "plain": plain.low <= truth <= plain.high,
             "width": pair.adjusted_high - pair.adjusted_low, "plain_width": plain.high - plain.low,
             "significant": significant, "wrong": significant and pair.adjusted * truth < 0}
        )  # fmt: skip
    return pd.DataFrame(rows)


def rankings(whole: Sample, count: int) -> pd.DataFrame:
    """R^2 of forests on 20 to 160 networks with added noise, and whether each ranks the strongest parameter first."""
    forest.ROUNDS = FEW_ROUNDS
    strongest = _strongest(forest.forest_importance(whole))
    rng = np.random.default_rng(0)
    rows = []
    for i in track(range(count), description="forests"):
        n, noise = (20, 40, 80, 160)[i % 4], (0.0, 0.7, 1.5, 3.0)[i // 4 % 4]
        drawn = whole.trials.iloc[rng.choice(len(whole), n, replace=False)]
        noisy = drawn[ACCURACY] + rng.normal(size=n) * noise * whole.trials[ACCURACY].std()
        found = forest.forest_importance(Sample(drawn.assign(**{ACCURACY: noisy}), list(SPACE), whole.epochs, n))
        rows.append({"r2": found.r2, "right": _strongest(found) == strongest})
    return pd.DataFrame(rows)


def _strongest(found: forest.ForestResult) -> str:
    permutation = found.shares[found.shares["method"].eq("permutation")]
    return str(permutation.loc[permutation["importance"].idxmax(), "parameter"])


def main() -> None:
    """Print one table per question, then the result line."""
    options = tyro.cli(Options)
    curves = load_curves()
    fields = []
    for trials in options.trials:
        studies = [search(curves, trials, s, options.workers) for s in track(range(options.seeds), f"{trials} trials")]
        for epochs in (GRACE, EPOCHS):
            whole = networks(curves, epochs)
            table = pd.concat([coverage(study, whole) for study in studies])
            means = table.mean()
            print(f"{trials} trials, {epochs} epochs, {len(table)} pairs:", means.round(3).to_dict())
            fields += [f"{kind}_{trials}_{epochs}={means[kind]:.3f}" for kind in ("adjusted", "plain", "wrong")]
    if options.forests:
        table = rankings(networks(curves, GRACE), options.forests)
        bins = table.groupby(pd.cut(table["r2"], EDGES), observed=True)["right"].agg(["size", "mean"])
        print(bins.round(2).to_string())
        fields += [f"right_{interval}={mean:.2f}".replace(" ", "") for interval, mean in bins["mean"].items()]
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
