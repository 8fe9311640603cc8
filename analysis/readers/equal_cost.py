"""The tables of a study that compares trials at equal cost, in epochs of the recipe instead of the trials' own."""

import math
from collections.abc import Sequence

import pandas as pd

from analysis.readers.frames import Mode
from analysis.rungs import cost_reached, cost_within
from analysis.schema import EPOCH, EPOCH_COST, EPOCHS, SECONDS, TRIAL_ID, VAL_ACC


def at_equal_cost(
    trials: pd.DataFrame, history: pd.DataFrame, mode: Mode, rungs: Sequence[int] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and history in epochs of the recipe: those that cost as much as the trials' own.

    A trial that was compared at one of the ``rungs`` has reached it, although its own epochs end before or after. A
    trial whose epochs cost less than the recipe's may have several within one of the recipe. They become one row: that
    of the best val_acc, with the seconds of all.
    """
    costs = epoch_costs(trials)
    own = pd.to_numeric(trials[EPOCHS], errors="coerce")
    reached = [_reached(epochs, cost, rungs) for epochs, cost in zip(own, costs, strict=True)]
    trials = trials.assign(**{EPOCHS: pd.Series(reached, trials.index, dtype=float)})
    of_rows = history[TRIAL_ID].map(costs).fillna(1.0)
    epochs = [cost_within(int(epoch), cost) for epoch, cost in zip(history[EPOCH], of_rows, strict=True)]
    history = history.assign(**{EPOCH: pd.Series(epochs, history.index, dtype="int64")})
    return trials, one_row_each(history, mode)


def _reached(epochs: float, cost: float, rungs: Sequence[int]) -> float:
    if math.isnan(epochs):
        return epochs
    passed = [rung for rung in rungs if rung <= cost_reached(epochs, cost)]
    return float(max(round(epochs * cost), *passed, 0))


def epoch_costs(trials: pd.DataFrame) -> pd.Series:
    """What an epoch of each trial costs, by trial_id; 1 where it is not known."""
    known = pd.to_numeric(trials[EPOCH_COST], errors="coerce") if EPOCH_COST in trials else pd.Series(1.0, trials.index)
    return known.where(known.between(0.001, 1000.0), 1.0).set_axis(trials[TRIAL_ID])


def one_row_each(history: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """One row per trial and epoch: the best one, with the seconds of all."""
    keys = [TRIAL_ID, EPOCH]
    seconds = history.groupby(keys)[SECONDS].transform("sum", min_count=1)
    best_last = history.assign(**{SECONDS: seconds}).sort_values(
        VAL_ACC, ascending=mode == "max", na_position="first", kind="stable"
    )
    return best_last.drop_duplicates(keys, keep="last").sort_index()
