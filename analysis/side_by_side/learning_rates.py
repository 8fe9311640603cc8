"""How much the result depends on the learning rate, at an equal number of epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparable import ACCURACY, sample_at
from analysis.nothing_to_compare import NothingToCompareError
from analysis.side_by_side.groups import GROUP_COLUMNS, with_network_and_strategy
from analysis.stats.encode import level_labels
from analysis.stats.resampling import bootstrap_means, percentile_interval
from analysis.study import StudyData

LEARNING_RATE = "learning_rate"
CURVE_COLUMNS = [*GROUP_COLUMNS, LEARNING_RATE, "rate", "trials", "mean", "low", "high", "best"]
COLUMNS = [*GROUP_COLUMNS, "trials", "settings", "spread", "spread_of_means", "best_rate", "epochs"]


def learning_rate_curve(studies: Mapping[str, StudyData], epochs: int | None = None) -> pd.DataFrame:
    """The mean result at each learning rate of each group, at an equal number of epochs within the study.

    ``learning_rate`` is the rate, or a range of rates where a search drew many of them; ``rate`` is its geometric mean.
    ``low``, ``high``: bootstrap interval of the mean, NaN for fewer than five trials. Groups with a single rate, and
    studies without learning rates, are left out.

    >>> learning_rate_curve({"digits": study})[["learning_rate", "trials"]].values.tolist()
    [['0.0001', 13], ['0.001', 24], ['0.01', 23]]
    """
    rows = [
        row
        for name, study in studies.items()
        for key, group, _, sign in _samples(name, study, epochs)
        for row in _levels(key, group, sign)
    ]
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def _samples(
    name: str, study: StudyData, epochs: int | None
) -> list[tuple[dict[str, str], pd.DataFrame, Sequence[str], int]]:
    """The trials of each group of a study that can be compared, with the other hyperparameters, and the sign."""
    if LEARNING_RATE not in study.parameters or not pd.api.types.is_numeric_dtype(study.trials[LEARNING_RATE]):
        return []
    try:
        sample = sample_at(study, epochs)
    except NothingToCompareError:
        return []
    trials = with_network_and_strategy(sample.trials).assign(budget=sample.epochs)
    trials = trials[trials[LEARNING_RATE].gt(0)]
    others = [name for name in study.parameters if name != LEARNING_RATE]
    return [
        (dict(zip(GROUP_COLUMNS, (name, str(network), str(strategy)), strict=True)), rows, others, sample.sign)
        for (network, strategy), rows in trials.groupby(["network", "strategy"], sort=False)
        if rows[LEARNING_RATE].nunique() > 1
    ]


def _levels(key: dict[str, str], group: pd.DataFrame, sign: int) -> list[dict[str, Any]]:
    rows = []
    for level, part in group.groupby(level_labels(group[LEARNING_RATE]), sort=True, observed=True):
        values = part[ACCURACY].to_numpy(dtype=float)
        low, high = percentile_interval(bootstrap_means(values), n=len(values))
        rate = float(np.exp(np.log(part[LEARNING_RATE].astype(float)).mean()))
        best = sign * float(np.max(sign * values))
        rows.append({**key, LEARNING_RATE: str(level), "rate": rate, "trials": len(part), "mean": values.mean(),
                     "low": low, "high": high, "best": best})  # fmt: skip
    return rows


def learning_rate_sensitivity(studies: Mapping[str, StudyData], epochs: int | None = None) -> pd.DataFrame:
    """How far the results of each group lie apart over its learning rates.

    - ``spread``: the median over ``settings`` of the largest minus the smallest result with all other hyperparameters
      fixed; NaN if no two trials differ in the learning rate alone, as in a Bayesian search.
    - ``spread_of_means``: the largest minus the smallest mean of ``learning_rate_curve``. It needs no equal settings,
      but mixes in what else differs.
    - ``best_rate``: the rate, or range, with the best mean.

    >>> learning_rate_sensitivity({"digits": study})[["trials", "settings", "best_rate"]].values.tolist()
    [[60, 3, '0.01']]
    """
    rows = []
    for name, study in studies.items():
        for key, group, others, sign in _samples(name, study, epochs):
            curve = pd.DataFrame(_levels(key, group, sign))
            spreads = _spreads(group, others)
            best = curve.loc[(sign * curve["mean"]).idxmax(), LEARNING_RATE]
            rows.append({**key, "trials": len(group), "settings": len(spreads), "spread": spreads.median(),
                         "spread_of_means": float(np.ptp(curve["mean"])), "best_rate": best,
                         "epochs": group["budget"].iloc[0]})  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _spreads(group: pd.DataFrame, others: Sequence[str]) -> pd.Series:
    """Largest minus smallest result of each setting that was tried with several learning rates."""
    settings = [str(tuple(map(str, row))) for row in group[list(others)].itertuples(index=False)]
    by_setting = group.groupby(pd.Series(settings, group.index))
    several = by_setting[LEARNING_RATE].nunique().gt(1)
    return (by_setting[ACCURACY].max() - by_setting[ACCURACY].min())[several]
