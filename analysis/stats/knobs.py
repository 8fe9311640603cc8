"""What each hyperparameter gave around a recipe: every other value against the value of the recipe.

Trials with another value are compared with the trials that have the recipe's value, at an equal budget, with the other
hyperparameters held fixed by the linear model of ``analysis.stats.regression``. The trials lie all over the space, so a
gain is an average over the settings that the search visited, not that of the recipe with one value changed. The limits
of adjusted effects (``analysis.stats.effects``) hold here too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import MAX_LEVELS, MISSING, is_number, label_of, level_labels
from analysis.stats.regression import UNKNOWN_EFFECT, Effect, adjusted_effect, welch_effect
from analysis.stats.resampling import CONFIDENCE, MIN_VALUES, holm

Mask = npt.NDArray[np.bool_]

BETTER, WORSE, UNDECIDED, TOO_FEW = "better than the recipe", "worse than the recipe", "undecided", "too few trials"
NOT_FIXED = "the other hyperparameters are not held fixed (too few trials)"
NEAREST = 1 / 3  # share of the trials that count as having the recipe's value, of a number with many values
LOG_FROM = 5.0  # ratio of the highest to the lowest value from which nearness is that of the logarithms
COLUMNS = [
    "knob", "recipe_value", "recipe_group", "value", "gain", "low", "high", "trials", "recipe_trials", "p_holm",
    "verdict", "detectable", "note", "epochs",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Groups:
    """The trials with the recipe's value of one hyperparameter, and those of each other value, with their labels."""

    recipe_label: str
    recipe: Mask
    others: dict[str, Mask]


def moved_knobs(sample: Sample, recipe: Mapping[str, Any]) -> list[str]:
    """The hyperparameters that vary, and that the recipe has or that some trial lacks as the recipe does."""
    return [name for name in sample.parameters if name in recipe or sample.trials[name].isna().any()]


def gains_around(sample: Sample, recipe: Mapping[str, Any]) -> pd.DataFrame:
    """One row per hyperparameter and other value: its ``gain`` over the recipe's value with a 95 % interval.

    Gains above 0 are better, also where the metric is minimised. ``recipe_group``: the values that count as the
    recipe's; of a number with more than MAX_LEVELS values these are the nearest third of the trials, and the others are
    two groups, lower and higher. ``p_holm``: corrected for all rows. ``detectable``: beside an undecided verdict,
    the smallest gain that is found in 80 % of such studies. Groups of fewer than MIN_VALUES trials have no gain.

    >>> from analysis.comparable import sample_at
    >>> table = gains_around(sample_at(study), {"batch_norm": False})
    >>> table[["knob", "value", "verdict"]].values.tolist()
    [['batch_norm', 'True', 'better than the recipe']]
    """
    rows, p_values, effects = [], [], []
    for name in moved_knobs(sample, recipe):
        groups = groups_around(sample.trials[name], recipe.get(name))
        for value, has_value in groups.others.items():
            effect, note = _effect(sample, has_value, groups.recipe, name)
            gain = effect if sample.sign > 0 else -effect
            p_values.append(effect.p if not note else float("nan"))
            effects.append(effect)
            rows.append(
                {"knob": name, "recipe_value": recipe_label(recipe.get(name)), "recipe_group": groups.recipe_label,
                 "value": value, "gain": gain.value, "low": gain.low, "high": gain.high, "trials": int(has_value.sum()),
                 "recipe_trials": int(groups.recipe.sum()), "note": note, "epochs": sample.epochs}
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS).assign(p_holm=holm(p_values))
    verdicts = [_verdict(gain, p) for gain, p in zip(table["gain"], table["p_holm"], strict=True)]
    tests = int(np.isfinite(p_values).sum())
    detectable = [
        effect.detectable(tests) if verdict == UNDECIDED and np.isfinite(p) else float("nan")
        for effect, verdict, p in zip(effects, verdicts, p_values, strict=True)
    ]
    return table.assign(verdict=pd.Series(verdicts, index=table.index, dtype="str"), detectable=detectable)


def best_of_each_knob(table: pd.DataFrame) -> pd.DataFrame:
    """The row with the highest gain of each hyperparameter in a table of ``gains_around``; known gains come first.

    >>> from analysis.comparable import sample_at
    >>> table = best_of_each_knob(gains_around(sample_at(study), {"learning_rate": 0.0001, "conv_layers": 2}))
    >>> table[["knob", "value"]].values.tolist()
    [['learning_rate', '0.01'], ['conv_layers', '3']]
    """
    best = table.sort_values("gain", ascending=False, kind="stable", na_position="last").drop_duplicates("knob")
    return best.reset_index(drop=True)


def groups_around(column: pd.Series, recipe_value: Any) -> Groups:
    """The trials of one hyperparameter by its value, relative to the recipe's.

    >>> groups = groups_around(pd.Series([16, 32, 32, 64]), 32)
    >>> groups.recipe.tolist(), list(groups.others)
    ([False, True, True, False], ['16', '64'])
    """
    wanted = recipe_label(recipe_value)
    many = is_number(column) and column.nunique() > MAX_LEVELS
    if many and is_number(pd.Series([recipe_value]).dropna()):
        return _number_groups(pd.to_numeric(column).astype(float), float(recipe_value))
    labels = level_labels(column)
    wanted = "None" if wanted == MISSING and "None" in labels.cat.categories else wanted
    masks = {value: labels.eq(value).to_numpy() for value in labels.cat.categories}
    others = {value: mask for value, mask in masks.items() if value != wanted and mask.any()}
    return Groups(wanted, masks.get(wanted, np.zeros(len(column), dtype=bool)), others)


def _number_groups(numbers: pd.Series, recipe_value: float) -> Groups:
    """The third of the trials nearest to the recipe's value, the lower and the higher ones, and those without one."""
    log = min(numbers.min(), recipe_value) > 0 and numbers.max() >= LOG_FROM * numbers.min()
    moved = (np.log(numbers) - np.log(recipe_value)) if log else numbers - recipe_value
    near = moved.abs().le(moved.abs().quantile(NEAREST, interpolation="higher"))
    groups = (moved.lt(0) & ~near, moved.gt(0) & ~near, numbers.isna())
    masks = {_range(numbers[mask]) if mask.any() else "": mask.to_numpy() for mask in groups}
    return Groups(_range(numbers[near]), near.to_numpy(), {label: mask for label, mask in masks.items() if label})


def _range(numbers: pd.Series) -> str:
    low, high = numbers.min(), numbers.max()
    return MISSING if numbers.isna().all() else label_of(low) if low == high else f"{low:.3g} to {high:.3g}"


def recipe_label(value: Any) -> str:
    """The recipe's value as the labels of ``level_labels`` are written; MISSING if the recipe has none."""
    return MISSING if value is None or (isinstance(value, float) and value != value) else label_of(value)


def _effect(sample: Sample, has_value: Mask, has_recipe: Mask, name: str) -> tuple[Effect, str]:
    """Result with a value minus that with the recipe's value; a note if it is unknown or not adjusted."""
    if min(has_value.sum(), has_recipe.sum()) < MIN_VALUES:
        return UNKNOWN_EFFECT, f"fewer than {MIN_VALUES} trials in a group"
    effect = adjusted_effect(sample, has_value, has_recipe, [name])
    if np.isfinite(effect.p):
        return effect, ""
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    return welch_effect(accuracy[has_value], accuracy[has_recipe]), NOT_FIXED


def _verdict(gain: float, p: float) -> str:
    if gain != gain:
        return TOO_FEW
    if not p <= 1 - CONFIDENCE:
        return UNDECIDED
    return BETTER if gain > 0 else WORSE
