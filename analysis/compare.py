"""Compare studies side by side: what each kind of network reached, after how many epochs, and at what cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.comparable import mask_infinite
from analysis.nothing_to_compare import no_result
from analysis.objective import objective_named
from analysis.schema import (
    BEST_VAL_ACC,
    COMPLETED,
    EPOCH,
    EPOCHS,
    PREPARATION,
    SECONDS,
    STATE,
    TRAINABLE,
    TRIAL_ID,
    VAL_ACC,
)
from analysis.side_by_side.groups import Group, groups_of
from analysis.side_by_side.same_data import check_same_data
from analysis.side_by_side.trial_costs import price, seconds_alone, slot_seconds
from analysis.study import StudyData


def comparison(
    studies: Mapping[str, StudyData], *, different_data: bool = False, price_per_hour: float | None = None
) -> pd.DataFrame:
    """One row per study, network and freezing strategy, best first.

    - ``trials``: trials with a result; ``completed``: how many of them completed. The others were stopped after fewer
      epochs, so ``worst`` and ``median`` do not compare equal budgets.
    - ``worst``, ``median``, ``best``: the trials' best values of the studies' metric. The best of more trials is better
      by their number alone: ``analysis.side_by_side.equal_budgets`` compares equal numbers.
    - ``epochs_to_best``, ``seconds``, ``trainable_parameters``, ``best_trial``: of the best trial. ``seconds`` is what
      it takes alone: its training, and before it computing the features of frozen layers.
    - ``total_seconds``: time of all trials, including those without a result; ``preparation_seconds``: the part of it
      before first epochs, NaN in studies that do not record it. Their other times then leave it out.
    - ``cost``, ``total_cost``: with ``price_per_hour``, the price of both times.

    Raises ValueError if no trial has a result, or if the studies differ in ``mode`` or objective; DifferentDataError,
    unless ``different_data``, if they differ in photos or splits.

    >>> table = comparison({"digits": study})
    >>> table[["network", "trials", "completed", "best"]].values.tolist()
    [['scratch CNN', 60, 30, 0.9896]]
    """
    _check_metrics(studies)
    if not different_data:
        check_same_data(studies)
    rows = [_summary(group) for name, study in studies.items() for group in groups_of(name, study)]
    if not rows:
        reasons = "; ".join(f"{name}: {no_result(study)}" for name, study in studies.items())
        raise ValueError(f"no study can be compared ({reasons})")
    lower_is_better = any(study.sign < 0 for study in studies.values())
    table = pd.DataFrame(rows).sort_values("best", ascending=lower_is_better, ignore_index=True)
    if price_per_hour is None:
        return table
    costs = {"cost": price(table[SECONDS], price_per_hour), "total_cost": price(table["total_seconds"], price_per_hour)}
    return table.assign(**costs)


def _check_metrics(studies: Mapping[str, StudyData]) -> None:
    if len({study.mode for study in studies.values()}) > 1:
        listed = ", ".join(f"{name}: {study.mode}" for name, study in studies.items())
        raise ValueError(f"cannot compare studies with different modes ({listed}); name one metric and one mode")
    objectives = {study.metric for study in studies.values() if objective_named(study.metric)}
    if len(objectives) > 1:
        listed = ", ".join(f"{name}: {study.metric}" for name, study in studies.items())
        raise ValueError(
            f"cannot compare studies with different metrics ({listed}); name one, as in --metric {VAL_ACC}"
        )
    for name, study in studies.items():
        if BEST_VAL_ACC not in study.trials:
            raise ValueError(f"study {name} has no column {BEST_VAL_ACC}")


def _summary(group: Group) -> dict[str, object]:
    study, counted, best = group.data, group.counted, group.best
    rows = study.history[study.history[TRIAL_ID].eq(best[TRIAL_ID])]
    return {
        **group.key,
        "trials": len(counted),
        COMPLETED: int(counted[STATE].eq(COMPLETED).sum()),
        "worst": counted.loc[(study.sign * counted[BEST_VAL_ACC]).idxmin(), BEST_VAL_ACC],
        "median": counted[BEST_VAL_ACC].median(),
        "best": best[BEST_VAL_ACC],
        "epochs_to_best": epochs_to_best(rows, best[EPOCHS], study.sign),
        SECONDS: seconds_alone(group.trials, best),
        TRAINABLE: best.get(TRAINABLE),
        "total_seconds": slot_seconds(group.trials).sum(min_count=1),
        "best_trial": best[TRIAL_ID],
        PREPARATION: group.trials[PREPARATION].sum(min_count=1),
    }


def epochs_to_best(rows: pd.DataFrame, default: Any, sign: int = 1) -> Any:
    """The epoch at which a trial first reached its best value; ``default`` if it has no history.

    ``rows``: the trial's rows of the history. ``sign``: -1 if lower values are better.
    """
    accuracies = sign * mask_infinite(rows.sort_values(EPOCH).set_index(EPOCH)[VAL_ACC]).dropna()
    return int(accuracies.idxmax()) if len(accuracies) else default
