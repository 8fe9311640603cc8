"""Importance by Optuna's evaluators, fANOVA and PED-ANOVA, on the trials of one budget.

fANOVA: the share of the variance over the whole space that a parameter explains by itself, according to a random
forest. PED-ANOVA: how much the distribution of the best trials over a parameter differs from that of all trials; it
tells what made trials good rather than what made their accuracies differ. Both are shares that sum to 1, so noise gets
a share too. With few good trials PED-ANOVA overrates numbers with many values, because a handful of points never looks
like a smooth distribution.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

from analysis.comparable import ACCURACY, Sample
from analysis.readers.frames import Mode
from analysis.stats.encode import MAX_LEVELS, is_logarithmic, is_number, level_labels
from analysis.stats.forest import MIN_TRIALS
from analysis.stats.resampling import SEED, bootstrap_indices, t_interval

ROUNDS = 12
TREES, ROUND_TREES = 64, 8  # fANOVA spends its time on trees: 2 s for 64 trees and 500 trials
MAX_FANOVA_TRIALS = 1000  # the time of fANOVA grows faster than linearly, to 9 s for 2,000 trials
DIRECTIONS = {"max": "maximize", "min": "minimize"}
TOP, MIN_TOP_TRIALS = 0.1, 5  # PED-ANOVA's best trials: a tenth, but at least five, as Optuna advises


def optuna_importance(sample: Sample) -> pd.DataFrame:
    """fANOVA and PED-ANOVA of each parameter: parameter, method, importance (shares that sum to 1), low, high.

    fANOVA uses at most MAX_FANOVA_TRIALS trials, drawn at random, also for its intervals.

    >>> from analysis.comparable import sample_at
    >>> optuna_importance(sample_at(study))["method"].unique().tolist()
    ['fanova', 'ped-anova']
    """
    trials = completed_trials(sample)
    usable = len(trials) >= MIN_TRIALS and len({trial.value for trial in trials}) > 1
    rows = []
    for method in ("fanova", "ped-anova"):
        shares = _shares(trials, sample, method, TREES) if usable else {}
        rounds = list(bootstrap_indices(len(trials), ROUNDS)) if usable else []
        draws = pd.DataFrame(
            [_shares([trials[i] for i in drawn], sample, method, ROUND_TREES) for drawn in rounds],
            columns=sample.parameters,
        )
        for name in sample.parameters:
            value = shares.get(name, np.nan)
            low, high = t_interval(value, draws[name].to_numpy(dtype=float), lowest=0.0, highest=1.0)
            rows.append({"parameter": name, "method": method, "importance": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["parameter", "method", "importance", "low", "high"])


def _shares(trials: list[FrozenTrial], sample: Sample, method: str, trees: int) -> dict[str, float]:
    """The importance of each parameter by one method, as shares that sum to 1; NaN if all importances are 0."""
    if method == "fanova" and len(trials) > MAX_FANOVA_TRIALS:
        trials = [trials[i] for i in np.random.default_rng(SEED).choice(len(trials), MAX_FANOVA_TRIALS, replace=False)]
    top = min(max(TOP, MIN_TOP_TRIALS / len(trials)), 0.5)
    evaluator = (
        FanovaImportanceEvaluator(n_trees=trees, seed=SEED)
        if method == "fanova"
        else PedAnovaImportanceEvaluator(target_quantile=top)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of few trials; the intervals show it
        # Not optuna.importance.get_param_importances: it gives equal shares where all importances are 0.
        importances = evaluator.evaluate(_study_of(trials, sample.mode), params=sample.parameters)
    total = sum(importances.values())
    return {name: value / total if total > 0 else float("nan") for name, value in importances.items()}


def _study_of(trials: Sequence[FrozenTrial], mode: Mode) -> optuna.Study:
    """An Optuna study in memory that contains ``trials``."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna logs every new study at INFO
    try:
        study = optuna.create_study(direction=DIRECTIONS[mode])
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.add_trials(trials)
    return study


def completed_trials(sample: Sample) -> list[FrozenTrial]:
    """Convert the sample to completed Optuna trials whose values are the accuracies within the budget.

    Numbers with many values stay numbers; all other parameters, and those with missing values, become categories.
    """
    columns = {name: _as_optuna(sample.trials[name]) for name in sample.parameters}
    distributions = {name: distribution for name, (_, distribution) in columns.items()}
    values = {name: list(column) for name, (column, _) in columns.items()}
    return [
        create_trial(
            value=float(accuracy),
            params={name: column[i] for name, column in values.items()},
            distributions=distributions,
        )
        for i, accuracy in enumerate(sample.trials[ACCURACY])
    ]


def _as_optuna(column: pd.Series) -> tuple[pd.Series, BaseDistribution]:
    if is_number(column) and column.nunique() > MAX_LEVELS and not column.isna().any():
        numbers = column.astype(float)
        return numbers, FloatDistribution(numbers.min(), numbers.max(), log=is_logarithmic(numbers))
    labels = level_labels(column)
    return labels.astype(str), CategoricalDistribution(list(labels.cat.categories))
