"""How fast trials converge: the epochs that they need for nearly all of what they reach."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.comparable import best_so_far
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCH, SECONDS, STATE, TRIAL_ID
from analysis.side_by_side.groups import GROUP_COLUMNS, Group, groups_of
from analysis.study import StudyData

SHARE = 0.95  # of the best value
COLUMNS = [
    *GROUP_COLUMNS, "completed", "epochs_to_95", "epochs_low", "epochs_high", "seconds_to_95", "level",
    "epochs_to_level",
]  # fmt: skip


def level_of(best: float, sign: int) -> float:
    """The value that counts as nearly ``best``: 95 % of it, or of a loss what ``best`` is 95 % of.

    >>> level_of(0.8, 1), level_of(0.38, -1)
    (0.76, 0.4)
    """
    return SHARE * best if sign > 0 else best / SHARE


def epochs_to_95(study: StudyData) -> pd.Series:
    """The first epoch at which each trial had 95 % of the best value that it ever reached, by trial_id.

    >>> int(epochs_to_95(study)["t0001"])
    2
    """
    curves = best_so_far(study.history, study.mode)
    best = curves.groupby(TRIAL_ID)[BEST_VAL_ACC].transform("last")
    near = study.sign * curves[BEST_VAL_ACC] >= study.sign * best.map(lambda value: level_of(value, study.sign))
    return curves[near].groupby(TRIAL_ID)[EPOCH].min()


def convergence(studies: Mapping[str, StudyData]) -> pd.DataFrame:
    """How many epochs each group of trials needs, by the trials that completed.

    - ``epochs_to_95``: median over the completed trials of the epochs to 95 % of what the trial itself reached, and its
      quartiles. A stopped trial was not allowed to converge, so it does not count.
    - ``seconds_to_95``: the training seconds until then, of the best trial.
    - ``level``: 95 % of the best value of the worst group, which every group reaches, and ``epochs_to_level``: the
      epochs of the group's best trial until then. It compares groups that end at different values.

    >>> convergence({"digits": study})[["completed", "epochs_to_95", "epochs_to_level"]].values.tolist()
    [[30.0, 2.5, 2.0]]
    """
    groups = [group for name, study in studies.items() for group in groups_of(name, study)]
    if not groups:
        return pd.DataFrame(columns=COLUMNS)
    sign = groups[0].data.sign
    level = level_of(sign * min(sign * float(group.best[BEST_VAL_ACC]) for group in groups), sign)
    needed = {name: epochs_to_95(study) for name, study in studies.items()}
    return pd.DataFrame([_row(group, needed[group.study], level) for group in groups], columns=COLUMNS)


def _row(group: Group, needed: pd.Series, level: float) -> dict[str, Any]:
    completed = group.counted[group.counted[STATE].eq(COMPLETED)]
    epochs = completed[TRIAL_ID].map(needed).dropna().astype(float)
    curve = best_curve(group)
    until = curve[curve[EPOCH].le(needed.get(group.best[TRIAL_ID], 0))]
    reached = curve.loc[(group.data.sign * curve[BEST_VAL_ACC]).ge(group.data.sign * level), EPOCH]
    return {
        **group.key, COMPLETED: len(completed), "epochs_to_95": epochs.median(), "epochs_low": epochs.quantile(0.25),
        "epochs_high": epochs.quantile(0.75), "seconds_to_95": until[SECONDS].sum() if len(until) else float("nan"),
        "level": level, "epochs_to_level": float(reached.min()) if len(reached) else float("nan"),
    }  # fmt: skip


def best_curve(group: Group) -> pd.DataFrame:
    """The history of the group's best trial, with its best value so far."""
    history = group.data.history
    return best_so_far(history[history[TRIAL_ID].eq(group.best[TRIAL_ID])], group.data.mode)


def convergence_curves(studies: Mapping[str, StudyData]) -> pd.DataFrame:
    """The best value so far of the best trial of each group against its epochs; GROUP_COLUMNS, epoch, value.

    >>> convergence_curves({"digits": study})["value"].iloc[-1].item()
    0.9896
    """
    parts = [
        best_curve(group).assign(**group.key).rename(columns={BEST_VAL_ACC: "value"})[[*GROUP_COLUMNS, EPOCH, "value"]]
        for name, study in studies.items()
        for group in groups_of(name, study)
    ]
    columns = [*GROUP_COLUMNS, EPOCH, "value"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
