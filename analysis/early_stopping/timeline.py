"""A search over time: the best so far against what was spent, and how busy its slots were."""

import numpy as np
import pandas as pd

from analysis.early_stopping.replay import arrivals
from analysis.schema import BEST_VAL_ACC, CREATED, SECONDS, TRIAL_ID
from analysis.study import Study

PARTS = 10  # of the time that a search took


def best_against_epochs(study: Study) -> pd.DataFrame:
    """A row for each epoch that any trial trained: epochs_spent by all together, trials_begun, best_val_acc so far."""
    events = arrivals(study).dropna(subset=[BEST_VAL_ACC])
    begun = (~events[TRIAL_ID].duplicated()).cumsum()
    spent = np.arange(1, len(events) + 1)
    best = (study.sign * events[BEST_VAL_ACC]).cummax() * study.sign
    found = pd.DataFrame({"epochs_spent": spent, "trials_begun": begun, BEST_VAL_ACC: best})
    return found.reset_index(drop=True)


def best_by_part(study: Study, parts: int = PARTS) -> pd.DataFrame:
    """``best_against_epochs`` after each tenth of all epochs."""
    table = best_against_epochs(study)
    ends = np.unique(np.ceil(np.linspace(0, len(table), parts + 1)[1:]).astype(int)) - 1
    return table.iloc[ends[ends >= 0]].reset_index(drop=True)


def utilisation(study: Study, parts: int = PARTS) -> pd.DataFrame:
    """How many trials trained at once in each part of the search's time, and which share of the slots that is.

    A trial is taken to train from its creation for its seconds of training. ``slots`` are ``max_concurrent`` of the
    search's configuration, or else the trials at once in the busiest part, so waiting, starting and saving count as
    idle; a trial created ahead of time, which waits for a slot, is put too early. Empty where times are not known.
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
    rows = zip(
        range(1, parts + 1), edges[:-1], edges[1:], busy, [slots] * parts, np.minimum(busy / slots, 1.0), strict=True
    )
    return pd.DataFrame(rows, columns=columns)


def busy_between(begin: np.ndarray, end: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The mean number of intervals that are open between each edge and the next."""
    overlap = np.minimum(end[:, None], edges[None, 1:]) - np.maximum(begin[:, None], edges[None, :-1])
    return np.asarray(overlap.clip(min=0).sum(axis=0) / np.diff(edges))
