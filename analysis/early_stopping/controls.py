"""What control trials show about early stopping: missed winners, late effects, and early against late ranks.

Before it starts, each trial is chosen as a control with the same probability, and a control trains to its end whatever
ASHA says. So among the trials that ASHA stopped or would have stopped, the controls are a simple random sample, whose
final values are known; of the trials that ASHA kept, all are known. Trials that completed without being controls looked
good early and represent nobody else.

Effects at the last epoch: ``analysis.early_stopping.late_effects``. How often the intervals hold the truth:
benchmarks/control_trials.py.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.budgets import longest_trial, rungs
from analysis.comparable import accuracy_within
from analysis.schema import BEST_VAL_ACC, COMPLETED, CONTROL, STATE, STOP_EPOCH, STOPPED, TRIAL_ID
from analysis.stats.correlation import spearman_interval
from analysis.stats.resampling import CONFIDENCE
from analysis.study import StudyData

MIN_CONTROLS = 5  # ended controls that ASHA would have stopped, needed to say anything about stopped trials
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class Strata:
    """Final values by trial_id of the trials that ASHA ``kept`` and of the controls it would have stopped (``seen``).

    ``stopped``: ids of all trials that it stopped or would have stopped. ``controls``: ids of all ended controls.
    """

    kept: pd.Series
    seen: pd.Series
    stopped: pd.Index
    controls: pd.Index

    @property
    def enough(self) -> bool:
        """Whether there are MIN_CONTROLS controls that ASHA would have stopped."""
        return len(self.seen) >= MIN_CONTROLS


def strata_of(study: StudyData) -> Strata:
    """Divide the trials of a study by whether ASHA stopped them; without control trials, ``seen`` is empty.

    >>> len(strata_of(study).stopped), len(strata_of(study).seen)
    (30, 0)
    """
    trials = study.trials.set_index(TRIAL_ID)
    none = pd.Series(np.nan, trials.index)
    control = trials.get(CONTROL, none).eq(1)
    would_stop = control & trials.get(STOP_EPOCH, none).notna()
    ended = trials[STATE].eq(COMPLETED) & trials[BEST_VAL_ACC].notna()
    final = trials[BEST_VAL_ACC].astype(float)
    stopped = trials.index[would_stop | (trials[STATE].eq(STOPPED) & ~control)]
    return Strata(final[ended & ~would_stop], final[ended & would_stop], stopped, trials.index[ended & control])


def describe_unknown(study: StudyData, what: str = "") -> str:
    """One sentence on what too few control trials leave open; "" if there are enough, or nothing was stopped.

    ``what``: the subject of the sentence, by default winners and effects.

    >>> describe_unknown(study)[:68]
    'How many winners early stopping missed, and whether effects hold at '
    """
    strata = strata_of(study)
    if strata.enough or not len(strata.stopped):
        return ""
    winners = f"How many winners early stopping missed, and whether effects hold at the last {study.unit},"
    return (
        f"{what or winners} cannot be known ({len(strata.seen)} ended control trials that ASHA would have stopped, "
        f"{MIN_CONTROLS} needed; see --control-fraction)."
    )


def missed_summary(study: StudyData) -> pd.DataFrame:
    """One row: how many stopped trials would have beaten the best of the trials that ASHA kept; empty if unknown.

    ``controls`` of the ``stopped`` trials trained to their end, and ``won`` of them beat the best. ``expected``: their
    share times ``stopped``. ``low``, ``high``: the 95 % interval of that number, by inverting the two one-sided tests
    of the hypergeometric distribution (Buonaccorsi 1987, The American Statistician 41), which is exact, as controls
    are drawn without replacement and the best of the kept trials does not depend on who is a control.

    >>> missed_summary(study)["expected"].tolist()
    []
    """
    strata = strata_of(study)
    columns = ["stopped", "controls", "won", "expected", "low", "high"]
    if not strata.enough or not len(strata.kept):
        return pd.DataFrame(columns=columns)
    best = (study.sign * strata.kept).max()
    won, seen, total = int((study.sign * strata.seen > best).sum()), len(strata.seen), len(strata.stopped)
    low, high = hypergeometric_interval(won, seen, total)
    return pd.DataFrame([(total, seen, won, won / seen * total, low, high)], columns=columns)


def describe_missed(study: StudyData) -> str:
    """How many stopped trials would have beaten the best trial that ASHA kept; "" if there are too few controls."""
    for row in missed_summary(study).itertuples():
        return (
            f"Early stopping missed {row.low:.0f} to {row.high:.0f} winners of {row.stopped} stopped trials (95 % "
            f"interval; {row.won} of {row.controls} control trials that ASHA would have stopped beat the best other)."
        )
    return ""


def hypergeometric_interval(hits: int, drawn: int, total: int) -> tuple[int, int]:
    """The 95 % interval of the number of hits among ``total``, of which ``drawn`` without replacement had ``hits``.

    >>> hypergeometric_interval(hits=0, drawn=20, total=300)
    (0, 48)
    """
    possible = np.arange(hits, total - (drawn - hits) + 1)
    few = stats.hypergeom.sf(hits - 1, total, possible, drawn) > TAIL
    many = stats.hypergeom.cdf(hits, total, possible, drawn) > TAIL
    return int(possible[few].min()), int(possible[many].max())


def control_correlation(study: StudyData) -> pd.DataFrame:
    """Spearman's correlation of first rung and end over the control trials, a random sample of all; empty if unknown.

    ``low``, ``high``: ``spearman_interval``.
    """
    strata, first = strata_of(study), rungs(study)[0]
    columns = ["early", "late", "controls", "spearman", "low", "high"]
    final = study.trials.set_index(TRIAL_ID)[BEST_VAL_ACC].reindex(strata.controls)
    both = pd.concat([accuracy_within(study, first).reindex(strata.controls), final], axis=1).dropna()
    if not strata.enough or first >= longest_trial(study):
        return pd.DataFrame(columns=columns)
    found = float(stats.spearmanr(both.iloc[:, 0], both.iloc[:, 1]).statistic)
    low, high = spearman_interval(found, len(both))
    return pd.DataFrame([(first, longest_trial(study), len(both), found, low, high)], columns=columns)
