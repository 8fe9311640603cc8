"""How long the trials of a study trained: the budgets at which they can be compared, and the rungs of its search."""

from typing import Any

import pandas as pd

from analysis.rungs import rung_milestones
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCH, EPOCHS, FAILED, FOLDS_DONE, RUNNING, STATE
from analysis.study import StudyData
from analysis.wording import counted

NEARLY_ALL = 0.95  # share of trials that counts as all of them: a few fail or are still running
MIN_RUNG_SHARE = 0.05  # share of trials that must have ended at an epoch for it to count as a rung


def epochs_of(trials: pd.DataFrame) -> pd.Series:
    """The epochs of each trial as floats, NaN where they are unknown.

    Comparisons with NaN are False; those of a nullable integer have no value, and masks made of them raise.

    >>> epochs_of(pd.DataFrame({"epochs": pd.array([3, None], dtype="Int64")})).ge(1).tolist()
    [True, False]
    """
    return pd.to_numeric(trials[EPOCHS], errors="coerce").astype(float)


def check_budget(study: StudyData, epochs: int | None) -> int | None:
    """Return ``epochs``; raise ValueError if no trial trained for that long."""
    last = longest_trial(study)
    if epochs is not None and len(study.history) and not 1 <= epochs <= last:
        raise ValueError(
            f"no trial trained for {counted(epochs, study.unit)}; choose a budget of 1 to {counted(last, study.unit)}"
        )
    return epochs


def common_epoch(study: StudyData) -> int:
    """The largest number of epochs that nearly all trials (NEARLY_ALL) trained for.

    With early stopping this is the grace period. Completed trials count as if they had trained on; failed and running
    trials do not count.

    >>> common_epoch(study)
    3
    """
    ended = study.trials[~study.trials[STATE].isin([FAILED, RUNNING]) & study.trials[BEST_VAL_ACC].notna()]
    if not len(ended):
        ended = study.trials[study.trials[BEST_VAL_ACC].notna()]
    last = longest_trial(study)
    reached = epochs_of(ended).where(ended[STATE].ne(COMPLETED), last)
    # Between two of these values the share does not change, and steps may be counted in millions.
    ends = {int(value) for value in reached.dropna().unique() if value >= 1} | {last}
    return max((e for e in ends if e and reached.ge(e).mean() >= NEARLY_ALL), default=first_step(study))


def first_step(study: StudyData) -> int:
    """The epoch of the first results: 1, or for example 100 where trials report every 100 steps."""
    return max(int(study.history[EPOCH].min()), 1) if len(study.history) else 1


def longest_trial(study: StudyData) -> int:
    """The number of epochs of the longest trial; 0 if no trial has trained."""
    known = epochs_of(study.trials).dropna()
    longest = int(known.max()) if len(known) else 0
    # With folds, the epochs of a trial are those of all its trainings, and the curves those of the first one.
    return (
        min(longest, int(study.history[EPOCH].max())) if FOLDS_DONE in study.trials and len(study.history) else longest
    )


def trainings_of(study: StudyData) -> int:
    """How often a trial trains: once for each fold and repeat of its search.

    >>> trainings_of(study)
    1
    """
    config: dict[str, Any] = study.info.get("config") or {}
    return max(int(config.get("folds") or 1), 1) * max(int(config.get("repeats") or 1), 1)


def rungs(study: StudyData) -> list[int]:
    """The epochs at which early stopping compared trials, followed by the last epoch.

    Taken from the search's configuration if it has a grace period and a reduction factor. Otherwise every epoch at
    which at least MIN_RUNG_SHARE of the trials were stopped counts as a rung.

    >>> rungs(study)
    [3, 9]
    """
    config: dict[str, Any] = study.info.get("config") or {}
    last = max(longest_trial(study), 1)
    grace, factor = config.get("grace_period"), config.get("reduction_factor")
    if grace and factor and factor > 1:
        last = int(config.get("max_epochs") or last)
        return [*rung_milestones(int(grace), int(factor), last), last]
    trials = study.trials[~study.trials[STATE].isin([COMPLETED, RUNNING, FAILED])]
    piled = epochs_of(trials).value_counts() / max(len(study.trials), 1)
    return [*sorted(int(epoch) for epoch in piled.index[piled.ge(MIN_RUNG_SHARE)] if 0 < epoch < last), last]
