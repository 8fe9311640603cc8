"""The effect of each value of each hyperparameter, pair by pair, and of the strongest pair of parameters together.

``mean``, ``median`` and ``best`` are of the trials as the search drew them. A Bayesian search draws good regions more
often, so plain means mix a value's own effect with that of the values it was tried with, and ``best`` grows with the
number of trials. ``adjusted`` is the effect with the other parameters held fixed by a linear model (adjust.py):
on searches simulated from 648 known curves (benchmarks/analysis_truth.py) its intervals held the truth 94 to 99 times
in 100 at the first rung, at half to two thirds of the width of plain ones. At the last rung, among trials that early
stopping let live, neither kind did: 13 to 36 times in 100.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from analysis.comparable import ACCURACY, Sample, best_of
from analysis.stats.encode import level_labels
from analysis.stats.regression import adjusted_difference
from analysis.stats.resampling import holm, interval, mean_draws

VALUE_COLUMNS = [
    "parameter", "value", "trials", "mean", "low", "high", "median", "best", "adjusted", "adjusted_low",
    "adjusted_high", "epochs",
]  # fmt: skip
PAIR_COLUMNS = [
    "parameter", "value", "other", "trials", "other_trials", "difference", "superiority", "p", "p_holm", "adjusted",
    "adjusted_low", "adjusted_high", "adjusted_p_holm", "epochs",
]  # fmt: skip


def value_effects(sample: Sample) -> pd.DataFrame:
    """A row for each value: how many trials had it, and their accuracies.

    ``low`` and ``high``: bootstrap 95 % interval of ``mean``, none below 5 trials. ``adjusted``: how much higher the
    accuracy is with the value than with the others of its parameter together, all else equal; below 0 is better where
    the metric is to be minimised. Numbers with many values are cut into ranges.
    """
    accuracy = sample.trials[ACCURACY]
    rows = []
    for name, value, having in _levels(sample):
        own = accuracy[having].to_numpy(dtype=float)
        low, high = interval(mean_draws(own), len(own))
        effect = adjusted_difference(sample, having, ~having, [name])
        rows.append(
            {"parameter": name, "value": value, "trials": len(own), "mean": own.mean(), "low": low, "high": high,
             "median": np.median(own), "best": best_of(own, sample), "adjusted": effect.value,
             "adjusted_low": effect.low, "adjusted_high": effect.high, "epochs": sample.epochs}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=VALUE_COLUMNS)


def pairwise(sample: Sample) -> pd.DataFrame:
    """A row for each pair of values of a parameter, the better one by mean first.

    ``difference`` and ``adjusted``: by how much accuracies with ``value`` are higher; below 0 is better where the
    metric is to be minimised. ``superiority``: how often a trial with ``value`` beats one with ``other``, ties as a
    half; ``p``: Mann-Whitney's; ``p_holm`` and ``adjusted_p_holm``: corrected for all pairs of all parameters.
    """
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    rows = []
    for name in sample.parameters:
        of_name = [(value, having) for owner, value, having in _levels(sample) if owner == name]
        for one, two in itertools.combinations(of_name, 2):
            rows.append(
                _pair(sample, accuracy, name, *sorted([one, two], key=lambda v: -sample.sign * accuracy[v[1]].mean()))
            )
    table = pd.DataFrame(rows, columns=[*PAIR_COLUMNS, "adjusted_p"])
    corrected = table.assign(p_holm=holm(table["p"]), adjusted_p_holm=holm(table["adjusted_p"]), epochs=sample.epochs)
    return corrected[PAIR_COLUMNS]


def _pair(
    sample: Sample, accuracy: np.ndarray, name: str, one: tuple[str, np.ndarray], two: tuple[str, np.ndarray]
) -> dict[str, object]:
    (value, having), (other, others) = one, two
    test = mannwhitneyu(sample.sign * accuracy[having], sample.sign * accuracy[others])
    effect = adjusted_difference(sample, having, others, [name])
    return {
        "parameter": name,
        "value": value,
        "other": other,
        "trials": int(having.sum()),
        "other_trials": int(others.sum()),
        "difference": accuracy[having].mean() - accuracy[others].mean(),
        "superiority": float(test.statistic) / (having.sum() * others.sum()),
        "p": float(test.pvalue),
        "adjusted": effect.value,
        "adjusted_low": effect.low,
        "adjusted_high": effect.high,
        "adjusted_p": effect.p,
    }


def _levels(sample: Sample) -> Iterator[tuple[str, str, np.ndarray]]:
    """Parameter, value and which trials have it, for every value that some trial has."""
    for name in sample.parameters:
        labels = level_labels(sample.trials[name])
        for value in labels.cat.categories:
            having = labels.eq(value).to_numpy()
            if having.any():
                yield name, value, having
