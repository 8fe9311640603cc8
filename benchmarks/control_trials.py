"""How often the intervals that come from control trials hold the truth: searches replayed on recorded curves.

    python benchmarks/control_trials.py               # 25 searches of each kind; a minute
    python benchmarks/control_trials.py --searches 5  # quick

A random search with ASHA (grace period 3, factor 3) draws from the 648 networks of benchmarks/data/digits16_curves.csv,
whose curves are known to the end, and each trial is a control by chance. Then ``analysis.early_stopping`` is
asked for the number of missed winners, the correlation of first rung and end, and the effect of each value at the last
epoch. "before" is Welch's interval of the completed trials, which is what a study without controls has.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from scipy import stats

from analysis.early_stopping.controls import control_correlation, missed_summary, strata_of
from analysis.early_stopping.late_effects import effects_early_and_late
from analysis.early_stopping.replay import AshaRungs
from analysis.rungs import rung_milestones
from analysis.stats.encode import level_labels
from analysis.stats.regression import welch_effect
from analysis.study import StudyData

CURVES = Path(__file__).parent / "data" / "digits16_curves.csv"
GRACE, FACTOR, EPOCHS = 3, 3, 27
EPOCH_NAMES = [str(epoch) for epoch in range(1, EPOCHS + 1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the coverage of the intervals from control trials."""

    searches: int = 25
    trials: tuple[int, ...] = (120, 480)
    fractions: tuple[float, ...] = (0.05, 0.1)


def load_networks() -> tuple[pd.DataFrame, np.ndarray]:
    """The hyperparameters of all networks, and their best accuracy up to each epoch."""
    table = pd.read_csv(CURVES)
    best = table[EPOCH_NAMES].ffill(axis=1).cummax(axis=1).to_numpy(dtype=float)
    return table.drop(columns=EPOCH_NAMES), best


def search(params: pd.DataFrame, best: np.ndarray, trials: int, fraction: float, seed: int) -> StudyData:
    """A random search with control trials, one trial after the other."""
    rng = np.random.default_rng(seed)
    drawn, control = rng.integers(0, len(best), trials), rng.random(trials) < fraction
    asha = AshaRungs(rung_milestones(GRACE, FACTOR, EPOCHS), FACTOR)
    ends = np.array([_end(asha, best[index]) for index in drawn])
    epochs = np.where(control, EPOCHS, ends)
    ids = [f"t{number:04d}" for number in range(trials)]
    columns = {
        "trial_id": ids, "name": ids, "state": np.where(epochs == EPOCHS, "completed", "stopped"), "epochs": epochs,
        "best_val_acc": best[drawn, epochs - 1], "seconds": 1.0, "control_trial": control.astype(float),
        "asha_stop_epoch": np.where(control & (ends < EPOCHS), ends, np.nan),
    }  # fmt: skip
    table = pd.concat([pd.DataFrame(columns), params.iloc[drawn].reset_index(drop=True)], axis=1)
    steps = np.concatenate([np.arange(1, count + 1) for count in epochs])
    rows = np.repeat(np.arange(trials), epochs)
    history = pd.DataFrame({"trial_id": np.array(ids)[rows], "epoch": steps, "val_acc": best[drawn[rows], steps - 1]})
    config = {"grace_period": GRACE, "reduction_factor": FACTOR, "max_epochs": EPOCHS}
    info = {"config": config, "drawn": drawn}
    return StudyData(table, history.assign(val_loss=np.nan, seconds=1.0), info, list(params))


def _end(asha: AshaRungs, curve: np.ndarray) -> int:
    """The epoch after which ASHA stops a trial, or the last one."""
    return next((epoch for epoch in asha.epochs if asha.should_stop(epoch, curve[epoch - 1])), EPOCHS)


def score(study: StudyData, params: pd.DataFrame, best: np.ndarray) -> dict[str, list[float]]:
    """Of one search, 1 for each interval that holds the truth and 0 for each that does not, by kind of interval."""
    strata, final = strata_of(study), dict(zip(study.trials["trial_id"], best[study.info["drawn"], -1], strict=True))
    found: dict[str, list[float]] = {"enough": [float(strata.enough)]}
    for row in missed_summary(study).itertuples():
        true = sum(final[trial] > strata.kept.max() for trial in strata.stopped)
        found |= {"missed": [row.low <= true <= row.high], "missed_bias": [row.expected - true]}
        found |= {"missed_width": [row.high - row.low]}
    for row in control_correlation(study).itertuples():
        truth = stats.spearmanr(best[:, GRACE - 1], best[:, -1]).statistic
        found |= {"spearman": [row.low <= truth <= row.high]}
    completed = study.trials["state"].eq("completed").to_numpy()
    accuracy = study.trials["best_val_acc"].to_numpy(dtype=float)
    late, before, wrong = [], [], []
    for row in effects_early_and_late(study).itertuples():
        levels = level_labels(params[row.parameter]).eq(row.value).to_numpy()
        truth = best[levels, -1].mean() - best[~levels, -1].mean()
        if np.isfinite(row.late):
            late.append(row.late_low <= truth <= row.late_high)
            wrong.append(row.late_low * row.late_high > 0 and row.late * truth < 0)
        own = level_labels(study.trials[row.parameter]).eq(row.value).to_numpy()
        groups = accuracy[own & completed], accuracy[~own & completed]
        if min(map(len, groups)) > 2:
            effect = welch_effect(*groups)
            before.append(effect.low <= truth <= effect.high)
    return found | {"late": late, "before": before, "wrong_sign": wrong}


def main() -> None:
    """Print one line per number of trials and share of controls, then the result line."""
    options, (params, best) = tyro.cli(Options), load_networks()
    fields = []
    for trials in options.trials:
        for fraction in options.fractions:
            scores = [
                score(search(params, best, trials, fraction, seed), params, best) for seed in range(options.searches)
            ]
            names = list(dict.fromkeys(name for each in scores for name in each))
            pooled = {name: [value for each in scores for value in each.get(name, [])] for name in names}
            means = {name: float(np.mean(values)) for name, values in pooled.items() if values}
            print(f"{trials} trials, {fraction:.0%} controls:", {name: round(mean, 3) for name, mean in means.items()})
            fields += [f"{name}_{trials}_{fraction:g}={mean:.3f}" for name, mean in means.items()]
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
