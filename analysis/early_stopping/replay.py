"""What another grace period or factor would have done, replayed on the recorded curves.

A trial that was stopped has no curve after its stop, so a setting that would have let it live cannot be judged on it:
such trials are counted as ``unknown``, and what the row then says is a lower bound. Only rows without unknown trials
are whole. Even those leave out that epochs saved would have gone into other trials, and that the searcher would have
learned other things.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.comparable import best_so_far, rungs
from analysis.rungs import rung_milestones
from analysis.schema import BEST_VAL_ACC, COMPLETED, CREATED, EPOCH, EPOCHS, SECONDS, STATE, STOPPED, TRIAL_ID
from analysis.study import Study

GRACES = (1, 3, 5, 9)
FACTORS = (2, 3, 4)


def arrivals(study: Study) -> pd.DataFrame:
    """The history with best so far, in the order in which the epochs ended.

    Our study directory keeps that order. A history that lists one trial after another is put into it by when each trial
    was created and the seconds of its epochs, which leaves out the time that trials waited.
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
class Ladder:
    """ASHA as Tune has it: a trial that reaches a rung below the best 1/factor of those before it stops."""

    epochs: list[int]
    factor: int
    recorded: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def stops(self, epoch: int, accuracy: float) -> bool:
        """Whether a trial with ``accuracy``, or minus its loss, at ``epoch`` is stopped; it counts for later ones."""
        if epoch not in self.epochs:
            return False
        before = self.recorded[epoch]
        stopped = bool(before) and accuracy < float(np.percentile(before, (1 - 1 / self.factor) * 100))
        before.append(accuracy)
        return stopped


def replay(study: Study, grace: int, factor: int, events: pd.DataFrame | None = None) -> dict[str, object]:
    """One setting on the recorded curves: trials it stops, epochs it spends, the best it finds, what is unknown."""
    events = arrivals(study) if events is None else events
    ladder = Ladder(rung_milestones(grace, factor, rungs(study)[-1]), factor)
    trials = study.trials.set_index(TRIAL_ID)
    ends = trials.loc[trials[STATE].eq(COMPLETED), EPOCHS].to_dict()
    stopped: dict[str, int] = {}
    best, spent = -np.inf, 0
    for trial_id, epoch, accuracy in zip(events[TRIAL_ID], events[EPOCH], events[BEST_VAL_ACC], strict=True):
        if trial_id in stopped or np.isnan(accuracy):
            continue
        value = study.sign * float(accuracy)
        spent, best = spent + 1, max(best, value)
        # A trial that ends by itself at a rung counts for those that come later, and is not stopped.
        if ladder.stops(int(epoch), value) and ends.get(trial_id) != epoch:
            stopped[trial_id] = int(epoch)
    cut = trials.index[trials[STATE].eq(STOPPED)]
    # Stopped where the record ends too, or earlier, is known; let to live beyond its record is not.
    unknown = [trial for trial in cut if trial not in stopped]
    agreed = sum(stopped.get(trial) == trials.at[trial, EPOCHS] for trial in cut)
    return {
        "grace": grace, "factor": factor, "stopped": len(stopped), "unknown": len(unknown), "epochs": spent,
        "best": study.sign * best if spent else np.nan,
        "completed": int(trials[STATE].eq(COMPLETED).sum() - len(set(stopped) - set(cut))),
        "same_stops": agreed, "whole": not unknown,
    }  # fmt: skip


def other_settings(study: Study) -> pd.DataFrame:
    """A row for each grace period and factor that fit below the last epoch, the study's own ones marked.

    ``epochs`` spent and ``best`` found are at least so much where trials are ``unknown``. ``same_stops``: trials that
    are stopped just where they were; of the study's own setting it shows how far the replay can be trusted.
    """
    config = study.info.get("config") or {}
    own = int(config.get("grace_period") or 0), int(config.get("reduction_factor") or 0)
    settings = {(g, f) for g in GRACES for f in FACTORS if g < rungs(study)[-1]} | ({own} if all(own) else set())
    events = arrivals(study)
    rows = [replay(study, g, f, events) | {"own": (g, f) == own} for g, f in sorted(settings)]
    return pd.DataFrame(rows)
