"""Replay other grace periods and reduction factors of ASHA on the recorded curves.

A stopped trial has no curve after its stop, so a setting that would have continued it cannot be judged on it. Such
trials count as ``unknown``, and the row is a lower bound; only rows without unknown trials are ``whole``. No row
accounts for the trials that the saved epochs could have paid for, or for what the sampler would have learned.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.budgets import epochs_of, rungs
from analysis.comparable import best_so_far
from analysis.rungs import rung_milestones
from analysis.schema import BEST_VAL_ACC, COMPLETED, CREATED, EPOCH, SECONDS, STATE, STOPPED, TRIAL_ID
from analysis.study import StudyData

GRACES = (1, 3, 5, 9)
FACTORS = (2, 3, 4)


def history_in_time_order(study: StudyData) -> pd.DataFrame:
    """The history, with best_val_acc so far, in the order in which the epochs ended.

    The history.csv of a study directory has that order. A history that lists one trial after another is sorted by the
    creation time of each trial plus the seconds of its epochs; this ignores the time for which trials waited.
    """
    history = best_so_far(study.history, study.mode).sort_index(kind="stable")
    if not len(history):
        return history
    changes = int(history[TRIAL_ID].ne(history[TRIAL_ID].shift()).sum())
    created = history[TRIAL_ID].map(study.trials.set_index(TRIAL_ID)[CREATED])
    if changes > history[TRIAL_ID].nunique() or created.isna().all():
        return history
    elapsed = history[SECONDS].fillna(0.0).groupby(history[TRIAL_ID]).cumsum()
    ended = created + pd.to_timedelta(elapsed, unit="s")
    return history.loc[ended.sort_values(kind="stable").index]


@dataclass(slots=True)
class AshaRungs:
    """ASHA's decisions as in Ray Tune: stop a trial that is not in the best 1/factor of its predecessors at a rung."""

    epochs: list[int]
    factor: int
    recorded: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def should_stop(self, epoch: int, accuracy: float) -> bool:
        """Whether to stop a trial with ``accuracy`` (or minus its loss) at ``epoch``; also records the accuracy."""
        if epoch not in self.epochs:
            return False
        earlier = self.recorded[epoch]
        stop = bool(earlier) and accuracy < float(np.percentile(earlier, (1 - 1 / self.factor) * 100))
        earlier.append(accuracy)
        return stop


def replay(study: StudyData, grace: int, factor: int, events: pd.DataFrame | None = None) -> dict[str, object]:
    """Replay one setting: the trials it stops, the epochs it spends, the best it finds, and the unknown trials.

    ``events``: ``history_in_time_order(study)``, to compute it only once for several settings.

    >>> row = replay(study, grace=3, factor=3)
    >>> row["stopped"], row["unknown"], row["epochs"]
    (34, 10, 276)
    """
    events = history_in_time_order(study) if events is None else events
    asha = AshaRungs(rung_milestones(grace, factor, rungs(study)[-1]), factor)
    trials = study.trials.set_index(TRIAL_ID)
    epochs = epochs_of(trials)
    ends = epochs[trials[STATE].eq(COMPLETED)].to_dict()
    stopped: dict[str, int] = {}
    best, spent = -np.inf, 0
    for trial_id, epoch, accuracy in zip(events[TRIAL_ID], events[EPOCH], events[BEST_VAL_ACC], strict=True):
        if trial_id in stopped or np.isnan(accuracy):
            continue
        value = study.sign * float(accuracy)
        spent, best = spent + 1, max(best, value)
        # A trial that completes at a rung is recorded for later trials, but is not stopped.
        if asha.should_stop(int(epoch), value) and ends.get(trial_id) != epoch:
            stopped[trial_id] = int(epoch)
    stopped_in_study = trials.index[trials[STATE].eq(STOPPED)]
    # A stop at the end of the recorded curve or earlier is known. Training beyond the curve is not.
    unknown = [trial for trial in stopped_in_study if trial not in stopped]
    same_stops = sum(stopped.get(trial) == epochs.at[trial] for trial in stopped_in_study)
    return {
        "grace": grace, "factor": factor, "stopped": len(stopped), "unknown": len(unknown), "epochs": spent,
        "best": study.sign * best if spent else np.nan,
        "completed": int(trials[STATE].eq(COMPLETED).sum() - len(set(stopped) - set(stopped_in_study))),
        "same_stops": same_stops, "whole": not unknown,
    }  # fmt: skip


def stride(study: StudyData) -> int:
    """The distance between two results: 1 epoch, or for example 100 where trials report every 100 steps.

    >>> stride(study)
    1
    """
    steps = study.history[EPOCH].to_numpy(dtype=int)
    return max(int(np.gcd.reduce(steps)), 1) if len(steps) else 1


def other_settings(study: StudyData) -> pd.DataFrame:
    """One row per grace period and factor below the last epoch; ``own`` marks the setting of the study.

    ``epochs`` spent and ``best`` found are lower bounds if trials are ``unknown``. ``same_stops``: trials that are
    stopped at the same epoch as in the study; in the row of the study's own setting it shows how exact the replay is.

    >>> table = other_settings(study)
    >>> table.loc[table["own"], ["grace", "factor", "same_stops"]].values.tolist()
    [[3, 3, 20]]
    """
    config = study.info.get("config") or {}
    own = int(config.get("grace_period") or 0), int(config.get("reduction_factor") or 0)
    graces = [grace * stride(study) for grace in GRACES]
    settings = {(g, f) for g in graces for f in FACTORS if g < rungs(study)[-1]} | ({own} if all(own) else set())
    events = history_in_time_order(study)
    rows = [replay(study, g, f, events) | {"own": (g, f) == own} for g, f in sorted(settings)]
    return pd.DataFrame(rows)
