"""The effect of each value of each hyperparameter, by itself and against each other value.

``mean``, ``median`` and ``best`` describe the trials as the search drew them. A Bayesian search draws good regions more
often, so plain means mix the effect of a value with the effects of the values it was tried with, and ``best`` grows
with the number of trials. ``adjusted`` is the effect with the other parameters held fixed by a linear model
(``analysis.stats.regression``).

How far to trust the intervals (searches simulated from 648 known curves, benchmarks/analysis_truth.py): at the first
rung, adjusted intervals contained the truth in 94 to 99 % of cases, at half to two thirds of the width of plain ones.
At the last rung, among the trials that early stopping kept, both kinds failed: 13 to 36 %.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from analysis.comparable import ACCURACY, Sample, best_value
from analysis.stats.encode import level_labels
from analysis.stats.regression import adjusted_effect
from analysis.stats.resampling import bootstrap_means, holm, percentile_interval

VALUE_COLUMNS = [
    "parameter", "value", "trials", "mean", "low", "high", "median", "best", "adjusted", "adjusted_low",
    "adjusted_high", "epochs",
]  # fmt: skip
PAIR_COLUMNS = [
    "parameter", "value", "other", "trials", "other_trials", "difference", "superiority", "p", "p_holm", "adjusted",
    "adjusted_low", "adjusted_high", "adjusted_p_holm", "epochs",
]  # fmt: skip


def value_effects(sample: Sample) -> pd.DataFrame:
    """One row per value of each parameter: how many trials had it, and their accuracies.

    ``low``, ``high``: bootstrap 95 % interval of ``mean``; NaN for fewer than 5 trials. ``adjusted``: accuracy with the
    value minus accuracy with the other values of the parameter, the other parameters held fixed; where the metric is
    minimised, values below 0 are better. Numbers with many values are grouped into ranges.

    >>> from analysis.comparable import sample_at
    >>> table = value_effects(sample_at(study)).set_index(["parameter", "value"])
    >>> table.loc[("batch_norm", "True"), ["adjusted", "adjusted_low", "adjusted_high"]].astype(float).round(2).tolist()
    [0.13, 0.02, 0.25]
    """
    accuracy = sample.trials[ACCURACY]
    rows = []
    for name, value, has_value in _levels(sample):
        own = accuracy[has_value].to_numpy(dtype=float)
        low, high = percentile_interval(bootstrap_means(own), len(own))
        effect = adjusted_effect(sample, has_value, ~has_value, [name])
        rows.append(
            {"parameter": name, "value": value, "trials": len(own), "mean": own.mean(), "low": low, "high": high,
             "median": np.median(own), "best": best_value(own, sample), "adjusted": effect.value,
             "adjusted_low": effect.low, "adjusted_high": effect.high, "epochs": sample.epochs}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=VALUE_COLUMNS)


def pairwise_effects(sample: Sample) -> pd.DataFrame:
    """One row per pair of values of a parameter; ``value`` is the one with the better mean.

    ``difference``, ``adjusted``: accuracy with ``value`` minus accuracy with ``other``, plain and with the other
    parameters held fixed; below 0 where the metric is minimised. ``superiority``: how often a trial with ``value``
    beats a trial with ``other``, ties counting half. ``p``: Mann-Whitney test. ``p_holm``, ``adjusted_p_holm``:
    corrected for all pairs of all parameters.

    >>> from analysis.comparable import sample_at
    >>> table = pairwise_effects(sample_at(study))
    >>> table.loc[table["adjusted_p_holm"] < 0.01, ["parameter", "value", "other"]].values.tolist()
    [['learning_rate', '0.001', '0.0001'], ['learning_rate', '0.01', '0.0001']]
    """
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    rows = []
    for name in sample.parameters:
        levels = [(value, has_value) for owner, value, has_value in _levels(sample) if owner == name]
        for pair in itertools.combinations(levels, 2):
            better, worse = sorted(pair, key=lambda level: -sample.sign * accuracy[level[1]].mean())
            rows.append(_pair(sample, accuracy, name, better, worse))
    table = pd.DataFrame(rows, columns=[*PAIR_COLUMNS, "adjusted_p"])
    corrected = table.assign(p_holm=holm(table["p"]), adjusted_p_holm=holm(table["adjusted_p"]), epochs=sample.epochs)
    return corrected[PAIR_COLUMNS]


def _pair(
    sample: Sample, accuracy: np.ndarray, name: str, better: tuple[str, np.ndarray], worse: tuple[str, np.ndarray]
) -> dict[str, object]:
    (value, has_value), (other, has_other) = better, worse
    test = mannwhitneyu(sample.sign * accuracy[has_value], sample.sign * accuracy[has_other])
    effect = adjusted_effect(sample, has_value, has_other, [name])
    return {
        "parameter": name,
        "value": value,
        "other": other,
        "trials": int(has_value.sum()),
        "other_trials": int(has_other.sum()),
        "difference": accuracy[has_value].mean() - accuracy[has_other].mean(),
        "superiority": float(test.statistic) / (has_value.sum() * has_other.sum()),
        "p": float(test.pvalue),
        "adjusted": effect.value,
        "adjusted_low": effect.low,
        "adjusted_high": effect.high,
        "adjusted_p": effect.p,
    }


def _levels(sample: Sample) -> Iterator[tuple[str, str, np.ndarray]]:
    """Parameter, value and a mask of the trials with it, for every value that some trial has."""
    for name in sample.parameters:
        labels = level_labels(sample.trials[name])
        for value in labels.cat.categories:
            has_value = labels.eq(value).to_numpy()
            if has_value.any():
                yield name, value, has_value
