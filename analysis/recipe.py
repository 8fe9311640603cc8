"""The recipe of a study: the configuration around which its search space lies, and the trial that trained it."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.readers.frames import flatten
from analysis.schema import RECIPE_PARAMS
from analysis.stats.encode import NONE_LABELS, label_of
from analysis.study import StudyData


def recipe_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of the recipe in study.json; empty for a study without one, or if they are damaged."""
    recorded = info.get(RECIPE_PARAMS)
    return flatten(recorded) if isinstance(recorded, dict) else {}


def recipe_trial(study: StudyData) -> pd.Series | None:
    """The first trial with the hyperparameters of the recipe; None without one.

    Hyperparameters of the recipe that are no column of the trials do not count: the search held them fixed.
    """
    recipe = {name: value for name, value in recipe_of(study.info).items() if name in study.parameters}
    trials = study.trials
    if not recipe or not len(trials):
        return None
    equal = pd.Series(data=True, index=trials.index)
    for name, value in recipe.items():
        equal &= trials[name].map(value_label).eq(value_label(value))
    return trials[equal].iloc[0] if equal.any() else None


def value_label(value: Any) -> str:
    """The text by which values of a hyperparameter are compared; "" for a missing value.

    >>> value_label(1e-3) == value_label("0.001"), value_label(None) == value_label(float("nan"))
    (True, True)
    """
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    label = label_of(value)
    return "" if label in NONE_LABELS else label
