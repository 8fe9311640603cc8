"""Studies side by side: what each kind of network reached, when, and at what cost."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.comparable import finite
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCH, EPOCHS, FAILED, SECONDS, STATE, TRAINABLE, TRIAL_ID, VAL_ACC
from analysis.study import Study

SCRATCH = "scratch CNN"
GROUP = ["study", "network", "strategy"]


def comparison(studies: Mapping[str, Study]) -> pd.DataFrame:
    """One row for each study, network and freezing strategy, best first.

    ``trials`` with a result and how many of them are ``completed`` (the others were stopped early, at fewer epochs, so
    that ``worst`` and ``median`` are not of equal budgets); ``worst``, ``median`` and ``best`` best validation
    accuracy; of the best trial ``epochs_to_best``, ``seconds`` of training and ``trainable_parameters``;
    ``total_seconds`` of training of all trials, those without a result included. ValueError if no trial has a result,
    or if more is better in one study and worse in another.
    """
    if len(modes := {study.mode for study in studies.values()}) > 1:
        ways = ", ".join(f"{name} {study.mode}" for name, study in studies.items())
        raise ValueError(f"the studies go different ways and cannot be compared: {ways}; name a metric and a mode")
    for name, study in studies.items():
        if BEST_VAL_ACC not in study.trials:
            raise ValueError(f"{name} has no column {BEST_VAL_ACC}")
    rows = [row for name, study in studies.items() for row in _rows(name, study)]
    if not rows:
        raise ValueError(f"no trial of {', '.join(studies)} has a result yet")
    return pd.DataFrame(rows).sort_values("best", ascending=modes == {"min"}, ignore_index=True)


def _rows(name: str, study: Study) -> list[dict[str, object]]:
    trials = labelled(study.trials)
    return [
        dict(zip(GROUP, (name, network, strategy), strict=True)) | _summary(group, study)
        for (network, strategy), group in trials.groupby(["network", "strategy"], sort=False)
        if (group[STATE].ne(FAILED) & group[BEST_VAL_ACC].notna()).any()
    ]


def labelled(trials: pd.DataFrame) -> pd.DataFrame:
    """``trials`` with columns ``network``, SCRATCH without a backbone, and ``strategy``, with its k or "-"."""
    network = trials.get("backbone", SCRATCH)
    strategy = trials.get("strategy", pd.Series("-", trials.index))
    if "k_layers" in trials:
        partial = trials["k_layers"].notna()
        k_layers = trials["k_layers"].astype("Int64").astype(str)
        strategy = strategy.where(~partial, strategy + " k=" + k_layers)
    return trials.assign(network=network, strategy=strategy)


def _summary(group: pd.DataFrame, study: Study) -> dict[str, object]:
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


def epochs_to_best(rows: pd.DataFrame, otherwise: Any, sign: int = 1) -> Any:
    """Epoch at which a trial first had its best validation accuracy; ``otherwise`` if its history is not there.

    ``sign`` is -1 where the least value is the best.
    """
    accuracies = sign * finite(rows.sort_values(EPOCH).set_index(EPOCH)[VAL_ACC]).dropna()
    return int(accuracies.idxmax()) if len(accuracies) else otherwise
