"""The groups of a comparison at an equal number of trials, and within an equal time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.schema import BEST_VAL_ACC
from analysis.side_by_side.groups import GROUP_COLUMNS, Group, groups_of
from analysis.side_by_side.trial_costs import slot_seconds
from analysis.stats.expected_best import best_within, best_within_interval, expected_best, expected_best_interval
from analysis.study import StudyData

COLUMNS = [
    *GROUP_COLUMNS, "trials", "equal_trials", "expected_best", "low", "high", "equal_seconds", "best_within",
    "within_low", "within_high",
]  # fmt: skip


def equal_budgets(
    studies: Mapping[str, StudyData], trials: int | None = None, seconds: float | None = None
) -> pd.DataFrame:
    """What each group would have found with as few trials, and within as little time, as the smallest group had.

    - ``expected_best``: the expected best of ``equal_trials`` of its trials, by default the number of trials of the
      smallest group, with the bootstrap interval ``low`` to ``high`` over its trials.
    - ``best_within``: the same for as many trials as end within ``equal_seconds``, by default the seconds of all trials
      of the cheapest group, one after the other and including their preparation; NaN if one trial may take longer.

    Groups of fewer trials than ``trials`` have no expected best. The best expected value comes first. See
    ``analysis.stats.expected_best`` for the formulas and for what a Bayesian search changes.

    >>> table = equal_budgets({"digits": study}, trials=10)
    >>> table[["trials", "equal_trials", "expected_best"]].round(4).values.tolist()
    [[60.0, 10.0, 0.9841]]
    """
    groups = [group for name, study in studies.items() for group in groups_of(name, study)]
    if not groups:
        return pd.DataFrame(columns=COLUMNS)
    n = trials or min(len(group.counted) for group in groups)
    totals = [total for group in groups if (total := float(slot_seconds(group.trials).sum())) > 0]
    budget = seconds or min(totals, default=float("nan"))
    table = pd.DataFrame([_row(group, n, budget) for group in groups], columns=COLUMNS)
    best = "expected_best" if table["expected_best"].notna().any() else "best_within"
    return table.sort_values(best, ascending=groups[0].data.sign < 0, ignore_index=True, kind="stable")


def _row(group: Group, n: int, budget: float) -> dict[str, Any]:
    row: dict[str, Any] = {**group.key, "trials": len(group.counted), "equal_trials": n, "equal_seconds": budget}
    sign = group.data.sign
    values = sign * group.counted[BEST_VAL_ACC].to_numpy(dtype=float)
    if n <= len(values):
        low, high = expected_best_interval(values, n)
        row |= {"expected_best": sign * expected_best(values, n)} | _ends(sign, low, high, "low", "high")
    trials = group.trials[slot_seconds(group.trials).notna()]
    seconds = slot_seconds(trials).to_numpy(dtype=float)
    # A failed trial has cost its time, and may have a value that nobody can use.
    found = (sign * trials[BEST_VAL_ACC]).where(trials.index.isin(group.counted.index)).to_numpy(dtype=float)
    within = best_within(found, seconds, budget) if np.isfinite(budget) and len(found) else float("nan")
    if np.isfinite(within):
        low, high = best_within_interval(found, seconds, budget)
        row |= {"best_within": sign * within} | _ends(sign, low, high, "within_low", "within_high")
    return row


def _ends(sign: int, low: float, high: float, low_name: str, high_name: str) -> dict[str, float]:
    """Both ends of an interval of ``sign * metric`` in the metric's own sign."""
    return {low_name: low, high_name: high} if sign > 0 else {low_name: -high, high_name: -low}
