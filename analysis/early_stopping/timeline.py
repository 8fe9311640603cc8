"""A search over time: the best result against the epochs spent, and how busy the slots were."""

import numpy as np
import pandas as pd

from analysis.early_stopping.replay import history_in_time_order
from analysis.schema import BEST_VAL_ACC, CREATED, SECONDS, TRIAL_ID
from analysis.study import StudyData

PARTS = 10  # into which the duration of a search is divided


def best_against_epochs(study: StudyData) -> pd.DataFrame:
    """One row per trained epoch: epochs_spent by all trials together, trials_begun, best_val_acc so far.

    >>> best_against_epochs(study).iloc[-1].tolist()
    [360.0, 60.0, 0.9896]
    """
    events = history_in_time_order(study).dropna(subset=[BEST_VAL_ACC])
    begun = (~events[TRIAL_ID].duplicated()).cumsum()
    spent = np.arange(1, len(events) + 1)
    best = (study.sign * events[BEST_VAL_ACC]).cummax() * study.sign
    found = pd.DataFrame({"epochs_spent": spent, "trials_begun": begun, BEST_VAL_ACC: best})
    return found.reset_index(drop=True)


def best_by_part(study: StudyData, parts: int = PARTS) -> pd.DataFrame:
    """The rows of ``best_against_epochs`` at the end of each of ``parts`` equal parts of all epochs.

    >>> best_by_part(study, parts=3)["epochs_spent"].tolist()
    [120, 240, 360]
    """
    table = best_against_epochs(study)
    ends = np.unique(np.ceil(np.linspace(0, len(table), parts + 1)[1:]).astype(int)) - 1
    return table.iloc[ends[ends >= 0]].reset_index(drop=True)


def utilisation(study: StudyData, parts: int = PARTS) -> pd.DataFrame:
    """How many trials trained at the same time in each part of the search, and which share of the slots that is.

    A trial is assumed to train from its creation, without breaks, for its seconds of training. Waiting, starting and
    saving therefore count as idle, and a trial that waited for a slot is placed too early, beside the trial that it
    waited for; ``busy`` is therefore at most ``slots``: ``max_concurrent`` of the search's configuration, or else the
    busiest part. Empty if the times are unknown.

    >>> utilisation(study, parts=3)["busy"].round(1).tolist()
    [8.8, 12.0, 7.6]
    """
    known = study.trials.dropna(subset=[CREATED, SECONDS])
    known = known[known[SECONDS] > 0]
    columns = ["part", "from_seconds", "to_seconds", "busy", "slots", "utilisation"]
    if not len(known):
        return pd.DataFrame(columns=columns)
    begin = (known[CREATED] - known[CREATED].min()).dt.total_seconds().to_numpy()
    end = begin + known[SECONDS].to_numpy(dtype=float)
    edges = np.linspace(0.0, end.max(), parts + 1)
    busy = busy_between(begin, end, edges)
    config = study.info.get("config") or {}
    slots = int(config.get("max_concurrent") or max(round(busy.max()), 1))
    busy = np.minimum(busy, slots)
    rows = zip(range(1, parts + 1), edges[:-1], edges[1:], busy, [slots] * parts, busy / slots, strict=True)
    return pd.DataFrame(rows, columns=columns)


def busy_between(begin: np.ndarray, end: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The mean number of the intervals ``begin`` to ``end`` that are open between each edge and the next."""
    overlap = np.minimum(end[:, None], edges[None, 1:]) - np.maximum(begin[:, None], edges[None, :-1])
    return np.asarray(overlap.clip(min=0).sum(axis=0) / np.diff(edges))
