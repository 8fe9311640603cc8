"""Compare studies side by side: what each kind of network reached, after how many epochs, and at what cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.comparable import mask_infinite
from analysis.nothing_to_compare import no_result
from analysis.objective import objective_named
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCH, EPOCHS, FAILED, SECONDS, STATE, TRAINABLE, TRIAL_ID, VAL_ACC
from analysis.stats.encode import label_of
from analysis.study import StudyData

SCRATCH = "scratch CNN"
GROUP_COLUMNS = ["study", "network", "strategy"]


def comparison(studies: Mapping[str, StudyData]) -> pd.DataFrame:
    """One row per study, network and freezing strategy, best first.

    - ``trials``: trials with a result; ``completed``: how many of them completed. The others were stopped after fewer
      epochs, so ``worst`` and ``median`` do not compare equal budgets.
    - ``worst``, ``median``, ``best``: the trials' best values of the studies' metric.
    - ``epochs_to_best``, ``seconds``, ``trainable_parameters``, ``best_trial``: of the best trial.
    - ``total_seconds``: training time of all trials, including trials without a result.

    Raises ValueError if no trial has a result, or if the studies differ in ``mode`` or objective.

    >>> table = comparison({"digits": study})
    >>> table[["network", "trials", "completed", "best"]].values.tolist()
    [['scratch CNN', 60, 30, 0.9896]]
    """
    if len(modes := {study.mode for study in studies.values()}) > 1:
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
    rows = [row for name, study in studies.items() for row in _rows(name, study)]
    if not rows:
        reasons = "; ".join(f"{name}: {no_result(study)}" for name, study in studies.items())
        raise ValueError(f"no study can be compared ({reasons})")
    return pd.DataFrame(rows).sort_values("best", ascending=modes == {"min"}, ignore_index=True)


def _rows(name: str, study: StudyData) -> list[dict[str, object]]:
    trials = with_network_and_strategy(study.trials)
    return [
        dict(zip(GROUP_COLUMNS, (name, network, strategy), strict=True)) | _summary(group, study)
        for (network, strategy), group in trials.groupby(["network", "strategy"], sort=False)
        if (group[STATE].ne(FAILED) & group[BEST_VAL_ACC].notna()).any()
    ]


def with_network_and_strategy(trials: pd.DataFrame) -> pd.DataFrame:
    """Add the columns ``network`` (the backbone, or SCRATCH) and ``strategy`` (with its k_layers; "-" without one)."""
    network = _texts(trials.get("backbone", pd.Series(SCRATCH, trials.index)))
    strategy = _texts(trials.get("strategy", pd.Series("-", trials.index)))
    if "k_layers" in trials:
        partial = trials["k_layers"].notna()
        strategy = strategy.where(~partial, strategy + " k=" + _texts(trials["k_layers"]))
    return trials.assign(network=network, strategy=strategy)


def _texts(column: pd.Series) -> pd.Series:
    return column.astype(object).map(lambda value: "-" if pd.isna(value) else label_of(value)).astype("str")


def _summary(group: pd.DataFrame, study: StudyData) -> dict[str, object]:
    counted = group[group[STATE].ne(FAILED) & group[BEST_VAL_ACC].notna()]
    values = study.sign * counted[BEST_VAL_ACC]
    best = counted.loc[values.idxmax()]
    rows = study.history[study.history[TRIAL_ID].eq(best[TRIAL_ID])]
    return {
        "trials": len(counted),
        COMPLETED: int(counted[STATE].eq(COMPLETED).sum()),
        "worst": counted.loc[values.idxmin(), BEST_VAL_ACC],
        "median": counted[BEST_VAL_ACC].median(),
        "best": best[BEST_VAL_ACC],
        "epochs_to_best": epochs_to_best(rows, best[EPOCHS], study.sign),
        SECONDS: best[SECONDS],
        TRAINABLE: best.get(TRAINABLE),
        "total_seconds": group[SECONDS].sum(min_count=1),
        "best_trial": best[TRIAL_ID],
    }


def epochs_to_best(rows: pd.DataFrame, default: Any, sign: int = 1) -> Any:
    """The epoch at which a trial first reached its best value; ``default`` if it has no history.

    ``rows``: the trial's rows of the history. ``sign``: -1 if lower values are better.
    """
    accuracies = sign * mask_infinite(rows.sort_values(EPOCH).set_index(EPOCH)[VAL_ACC]).dropna()
    return int(accuracies.idxmax()) if len(accuracies) else default
