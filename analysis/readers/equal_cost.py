"""The tables of a study that compares trials at equal cost, in epochs of the recipe instead of the trials' own."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.readers.frames import Mode
from analysis.rungs import LEAST_EPOCH_COST, MOST_EPOCH_COST, cost_reached, cost_within
from analysis.schema import EPOCH, EPOCH_COST, EPOCHS, OWN_EPOCHS, SECONDS, TRIAL_ID, VAL_ACC


def at_equal_cost(
    trials: pd.DataFrame, history: pd.DataFrame, mode: Mode, rungs: Sequence[int] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and history in epochs of the recipe; the trials' own epochs become the column OWN_EPOCHS.

    ``rungs``, ascending: where trials were compared, and their end. A trial that was compared at a rung has reached it,
    although its own epochs end a little before or after. The history has one row for each trial and epoch of the
    recipe. Of several own epochs within one of the recipe, it has the last one, with the best val_acc and the seconds
    of all. An own epoch that costs several of the recipe has a part of its seconds in each of them, and its results in
    the one in which it ends and those after it.
    """
    costs = epoch_costs(trials)
    own = pd.to_numeric(trials[EPOCHS], errors="coerce").astype(float)
    reached = [_reached(epochs, cost, rungs) for epochs, cost in zip(own, costs, strict=True)]
    trials = trials.assign(**{OWN_EPOCHS: own, EPOCHS: pd.Series(reached, trials.index, dtype=float)})
    last = dict(zip(trials[TRIAL_ID], reached, strict=True))
    parts = [
        _in_recipe_epochs(rows, float(costs.get(name, 1.0)), last.get(name, 0.0), mode)
        for name, rows in history.groupby(TRIAL_ID, sort=False)
    ]
    return trials, pd.concat(parts).sort_index(kind="stable").reset_index(drop=True) if parts else history


def epoch_costs(trials: pd.DataFrame) -> pd.Series:
    """What an epoch of each trial costs, by trial_id; 1 where it is not known."""
    known = pd.to_numeric(trials[EPOCH_COST], errors="coerce") if EPOCH_COST in trials else pd.Series(1.0, trials.index)
    return known.where(known.between(LEAST_EPOCH_COST, MOST_EPOCH_COST), 1.0).set_axis(trials[TRIAL_ID])


def _reached(epochs: float, cost: float, rungs: Sequence[int]) -> float:
    if not math.isfinite(epochs) or epochs < 1:
        return epochs
    most = rungs[-1] if rungs else math.inf
    passed = [rung for rung in rungs if rung <= cost_reached(epochs, cost)]
    return float(max(cost_within(int(epochs), cost), min(round(epochs * cost), most), *passed))


def _in_recipe_epochs(rows: pd.DataFrame, cost: float, reached: float, mode: Mode) -> pd.DataFrame:
    """The history of one trial, up to ``reached`` or its last row; the index says where each own epoch was."""
    made: list[dict[str, Any]] = []
    index: list[Any] = []
    within = pd.Series([cost_within(int(epoch), cost) for epoch in rows[EPOCH]], rows.index)
    for end, group in rows.groupby(within):
        row = group.iloc[-1].to_dict() | {VAL_ACC: group[VAL_ACC].agg("max" if mode == "max" else "min")}
        before = made[-1] if made else row
        begin = before[EPOCH] + 1 if made else end
        seconds = group[SECONDS].sum(min_count=1) / (end - begin + 1)
        made += [before | {EPOCH: epoch, SECONDS: seconds} for epoch in range(begin, end)]  # this own epoch goes on
        made.append(row | {EPOCH: end, SECONDS: seconds})
        index += [group.index[-1]] * (end - begin + 1)
    last = made[-1]
    after = range(last[EPOCH] + 1, int(reached) + 1 if math.isfinite(reached) else 0)
    made += [last | {EPOCH: epoch, SECONDS: 0.0} for epoch in after]
    return pd.DataFrame(made, [*index, *(index[-1] for _ in after)])
