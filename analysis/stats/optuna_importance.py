"""Importance as Optuna's evaluators see it, fANOVA and PED-ANOVA, on the trials of one budget.

fANOVA: the share of the variance over the whole space that a parameter explains by itself, in a forest of its own.
PED-ANOVA: how differently the best trials are spread over a parameter than all are; it asks what made a trial good
rather than what made accuracies differ. Both are shares of one, so noise gets a share too; with few good trials
PED-ANOVA gives numbers with many values too much, as a handful of points never looks like a smooth spread.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from analysis.comparable import ACCURACY, Sample
from analysis.readers.frames import Mode
from analysis.stats.encode import MAX_LEVELS, is_logarithmic, is_number, level_labels
from analysis.stats.forest import FEWEST
from analysis.stats.resampling import SEED, indices, spread_interval

ROUNDS = 12
TREES, ROUND_TREES = 64, 8  # of fANOVA, whose time is all in its trees: 2 s for 64 of them over 500 trials
MOST = 1000  # trials that fANOVA sees: its time grows faster than their number, to 9 s for 2,000
DIRECTIONS = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}
TOP, LEAST_TOP = 0.1, 5  # PED-ANOVA's best trials: a tenth, but not fewer than five, as Optuna advises


class Drawn(optuna.Study):
    """A study of trials in memory, some of them several times; adding them to a storage takes ten times as long."""

    def __init__(self, drawn: Sequence[FrozenTrial], mode: Mode) -> None:
        storage = optuna.storages.InMemoryStorage()
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every study that it creates
        storage.create_new_study([DIRECTIONS[mode]], "drawn")
        optuna.logging.set_verbosity(verbosity)
        super().__init__("drawn", storage)
        self.drawn = list(drawn)

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """All trials, which are complete."""
        return self.drawn


def optuna_importance(sample: Sample) -> pd.DataFrame:
    """fANOVA and PED-ANOVA of each parameter: parameter, method, importance (shares of one), low, high.

    fANOVA is of at most MOST trials, drawn at random, and its intervals are of as many.
    """
    trials = frozen_trials(sample)
    usable = len(trials) >= FEWEST and len({trial.value for trial in trials}) > 1
    rows = []
    for method in ("fanova", "ped-anova"):
        whole = _shares(trials, sample, method, TREES) if usable else {}
        draws = list(indices(len(trials), ROUNDS)) if usable else []
        found = pd.DataFrame(
            [_shares([trials[i] for i in drawn], sample, method, ROUND_TREES) for drawn in draws],
            columns=sample.parameters,
        )
        for name in sample.parameters:
            value = whole.get(name, np.nan)
            low, high = spread_interval(value, found[name].to_numpy(dtype=float), least=0.0, most=1.0)
            rows.append({"parameter": name, "method": method, "importance": value, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["parameter", "method", "importance", "low", "high"])


def _shares(trials: list[FrozenTrial], sample: Sample, method: str, trees: int) -> dict[str, float]:
    if method == "fanova" and len(trials) > MOST:
        trials = [trials[i] for i in np.random.default_rng(SEED).choice(len(trials), MOST, replace=False)]
    top = min(max(TOP, LEAST_TOP / len(trials)), 0.5)
    evaluator = (
        FanovaImportanceEvaluator(n_trees=trees, seed=SEED)
        if method == "fanova"
        else PedAnovaImportanceEvaluator(target_quantile=top)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few trials: the intervals say it
        found = evaluator.evaluate(Drawn(trials, sample.mode), params=sample.parameters)
    total = sum(found.values())
    return {name: value / total if total > 0 else float("nan") for name, value in found.items()}


def frozen_trials(sample: Sample) -> list[FrozenTrial]:
    """The sample as Optuna's complete trials, valued at the budget; few values and missing ones are categories."""
    columns = {name: _as_optuna(sample.trials[name]) for name in sample.parameters}
    distributions = {name: distribution for name, (_, distribution) in columns.items()}
    values = {name: list(column) for name, (column, _) in columns.items()}
    # Each has a number of its own: PED-ANOVA tells the best trials from the others by it.
    return [
        FrozenTrial(
            number=i, trial_id=i, state=TrialState.COMPLETE, value=float(accuracy), datetime_start=None,
            datetime_complete=None, params={name: column[i] for name, column in values.items()},
            distributions=distributions, user_attrs={}, system_attrs={}, intermediate_values={},
        )
        for i, accuracy in enumerate(sample.trials[ACCURACY])
    ]  # fmt: skip


def _as_optuna(column: pd.Series) -> tuple[pd.Series, BaseDistribution]:
    if is_number(column) and column.nunique() > MAX_LEVELS and not column.isna().any():
        numbers = column.astype(float)
        return numbers, FloatDistribution(numbers.min(), numbers.max(), log=is_logarithmic(numbers))
    labels = level_labels(column)
    return labels.astype(str), CategoricalDistribution(list(labels.cat.categories))
