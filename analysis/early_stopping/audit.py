"""Was early stopping worth it: what it saved, whether early ranks tell final ones, which winners it missed.

The final accuracy of a stopped trial is not known. What can be said of it comes from the trials that completed, and
those are the ones that looked good early: trials that start slowly and end well are missing from them just as they are
missing from the study. The estimates here are therefore rather too low than too high.
"""

import itertools

import numpy as np
import pandas as pd
from scipy.stats import beta, rankdata

from analysis.comparable import accuracy_within, finite, longest, rungs
from analysis.early_stopping.replay import other_settings
from analysis.early_stopping.timeline import best_by_part, utilisation
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCHS, ERROR, FAILED, SECONDS, STATE, STOPPED, TRIAL_ID, VAL_ACC
from analysis.stats.correlation import correlate
from analysis.stats.resampling import LEVEL, ROUNDS, Array, indices, interval
from analysis.study import Study

LEAST_COMPLETED = 5  # trials whose gains are an estimate at all
LIKELY = 0.5


def savings(study: Study) -> pd.DataFrame:
    """Epochs and seconds that stopping saved, one row for each thing it can be compared with.

    "max_epochs": every stopped trial trains to the last epoch, at its own seconds an epoch; "as completed trials":
    it trains for as many epochs as completed trials did on average, since patience ends many of them before the last.
    """
    trials = study.trials
    stopped = trials[trials[STATE].eq(STOPPED)]
    completed = trials.loc[trials[STATE].eq(COMPLETED), EPOCHS].dropna()
    pace = (stopped[SECONDS] / stopped[EPOCHS].where(stopped[EPOCHS] > 0)).fillna(0.0)
    last = rungs(study)[-1]
    goals = {"max_epochs": float(last), "as completed trials": float(completed.mean()) if len(completed) else np.nan}
    spent = float(trials[EPOCHS].sum()), float(trials[SECONDS].sum(min_count=1))
    rows = []
    for against, goal in goals.items():
        more = (goal - stopped[EPOCHS]).clip(lower=0)
        epochs, seconds = more.sum(skipna=False), (more * pace).sum(skipna=False)
        rows.append(
            {"against": against, "epochs_a_trial": goal, "stopped": len(stopped), "of": len(trials),
             "epochs_spent": spent[0], "epochs_saved": epochs, "share_saved": epochs / max(spent[0] + epochs, 1),
             "seconds_spent": spent[1], "seconds_saved": seconds}
        )  # fmt: skip
    return pd.DataFrame(rows)


def rung_correlations(study: Study) -> pd.DataFrame:
    """Spearman's correlation of the accuracies within two rungs, over trials that reached the later one.

    Trials that ended out of patience in between count with what they had. Only survivors have a later accuracy, and
    among alike trials ranks change places easily, so over all trials the correlation would be higher.
    """
    trials = study.trials.set_index(TRIAL_ID)
    rows = []
    for early, late in itertools.combinations(rungs(study), 2):
        whole = trials[EPOCHS].ge(late) | (trials[STATE].eq(COMPLETED) & trials[EPOCHS].ge(early))
        pair = [accuracy_within(study, epochs).reindex(trials.index[whole]) for epochs in (early, late)]
        both = pd.concat(pair, axis=1, keys=["early", "late"]).dropna().to_numpy()
        rows.append({"early": early, "late": late, "trials": len(both), **_spearman(both)})
    return pd.DataFrame(rows, columns=["early", "late", "trials", "spearman", "low", "high"])


def _spearman(both: Array) -> dict[str, float]:
    if len(both) < 3:
        return dict.fromkeys(("spearman", "low", "high"), float("nan"))
    drawn = both[np.vstack([np.arange(len(both))[None], indices(len(both), ROUNDS)])]
    ranks = rankdata(drawn, axis=1)
    found = correlate(ranks[:, :, :1], ranks[:, :, 1])[:, 0]
    low, high = interval(found[1:], len(both))
    return {"spearman": float(found[0]), "low": low, "high": high}


def missed_winners(study: Study) -> pd.DataFrame:
    """A row for each stopped trial: the chance that it would have ended above the best completed one.

    Each completed trial shows once how much of the error that was left at the epoch of the stop training on removed;
    the chance is the share of them whose gain would have been enough, with Jeffreys' 95 % interval. It takes the gains
    of completed trials for those of stopped ones, whatever their hyperparameters. ``needed`` is the share of the error
    that a stopped trial had to remove, or, of a metric without a known limit, the gain itself.
    """
    trials = study.trials.set_index(TRIAL_ID)
    completed = trials.index[trials[STATE].eq(COMPLETED) & trials[BEST_VAL_ACC].notna()]
    stopped = trials[trials[STATE].eq(STOPPED) & trials[BEST_VAL_ACC].notna()]
    columns = ["trial_id", "epochs", "best_val_acc", "needed", "chance", "low", "high", "completed"]
    if len(completed) < LEAST_COMPLETED:
        return pd.DataFrame(columns=columns)
    goal, limit = float(trials.loc[completed, BEST_VAL_ACC].agg(study.mode)), best_possible(study)
    final = accuracy_within(study, longest(study)).reindex(completed)
    rows = []
    for epochs, group in stopped.groupby(EPOCHS):
        early = accuracy_within(study, int(epochs)).reindex(completed)
        removed = _gain(study.sign * early, study.sign * final, limit).dropna()
        needed = _gain(study.sign * group[BEST_VAL_ACC], study.sign * goal, limit)
        for trial_id, share in needed.items():
            chance = _proportion(int((removed > share).sum()), len(removed))
            rows.append((trial_id, int(epochs), group.at[trial_id, BEST_VAL_ACC], share, *chance, len(removed)))
    table = pd.DataFrame(rows, columns=columns)
    best_first = [False, study.mode == "min"]
    return table.sort_values(["chance", BEST_VAL_ACC], ascending=best_first, ignore_index=True)


def best_possible(study: Study) -> float | None:
    """The limit that the metric, turned so that more is better, cannot pass; None where its values show none.

    1 for shares such as accuracies, 0 for losses, which are never below 0. Rewards have none.
    """
    values = study.sign * finite(study.history[VAL_ACC]).dropna()
    if values.between(0, 1).all():
        return 1.0
    return 0.0 if values.le(0).all() else None


def _gain(early: pd.Series, late: pd.Series | float, limit: float | None) -> pd.Series:
    """What trials gained, as share of what they could have gained if there is a limit. More is better."""
    left = pd.Series(1.0, early.index) if limit is None else limit - early
    return ((late - early) / left).where(left.ne(0), 0.0)


def _proportion(hits: int, of: int) -> tuple[float, float, float]:
    """A share with Jeffreys' interval; the end that cannot be known is that of the scale."""
    if not of:
        return float("nan"), 0.0, 1.0
    tail = (1 - LEVEL) / 2
    low = float(beta.ppf(tail, hits + 0.5, of - hits + 0.5)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 0.5, of - hits + 0.5)) if hits < of else 1.0
    return hits / of, low, high


def missed_summary(study: Study) -> pd.DataFrame:
    """One row: how many stopped trials would have won, in expectation, and how many were likely to.

    ``low`` and ``high`` add up the ends of all intervals, as all chances rest on the same few completed trials and are
    wrong together. They are wide, and rightly so: on 30 simulated searches ``expected`` was below 0.01 a search while
    stopping had missed 3 winners in all (benchmarks/analysis_truth.py).
    """
    found = missed_winners(study)
    known = len(found) > 0
    stopped = int(study.trials[STATE].eq(STOPPED).sum())
    expected = {name: found[column].sum() if known else np.nan
                for name, column in (("expected", "chance"), ("low", "low"), ("high", "high"))}  # fmt: skip
    likely = int(found["chance"].ge(LIKELY).sum()) if known else 0
    completed = int(study.trials[STATE].eq(COMPLETED).sum())
    return pd.DataFrame([{"stopped": stopped, "completed": completed, **expected, "likely": likely}])


def failures(study: Study) -> pd.DataFrame:
    """Failed trials by reason, most frequent first: the first line of the error, its numbers taken for the same."""
    failed = study.trials[study.trials[STATE].eq(FAILED)]
    errors = failed[ERROR].fillna("").astype(str).str.strip().replace("", "no reason recorded")
    reasons = errors.str.split("\n").str[0].str.slice(0, 160)
    alike = reasons.str.replace(r"0x[0-9a-fA-F]+|\d+(\.\d+)?", "#", regex=True)
    rows = [
        {"reason": reasons[group.index[0]], "trials": len(group), "share": len(group) / len(study.trials),
         "epochs": float(group[EPOCHS].median()), "seconds": float(group[SECONDS].sum(min_count=1)),
         "examples": ", ".join(group[TRIAL_ID].astype(str).head(3))}
        for _, group in failed.groupby(alike, sort=False)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["reason", "trials", "share", "epochs", "seconds", "examples"])
    return table.sort_values("trials", ascending=False, kind="stable", ignore_index=True)


NOTES = {
    "Epochs and seconds saved": "against training stopped trials to the last epoch, or as long as completed ones",
    "Rank correlation between rungs, survivors only": "1: the earlier rung has the order of the later one",
    "Stopped trials that would have won: expected number": "the sum of their chances; low and high: of their intervals",
    "Stopped trials most likely to have won": (
        "needed: the share of what was left to gain that would have beaten the best; chance: the share of completed "
        "trials that gained so much from that epoch on"
    ),
    "Other settings, replayed on the recorded curves": (
        "unknown: trials that the setting would have let live beyond their record, so epochs and best are at least so "
        "much (whole: none of them); same_stops: stopped where they were; own: this study's setting"
    ),
    "Slots busy over time": "busy: trials at once; waiting, starting and saving count as idle",
}


def audit_tables(study: Study) -> dict[str, pd.DataFrame]:
    """All tables of the audit, by title."""
    return {
        "Epochs and seconds saved": savings(study),
        "Rank correlation between rungs, survivors only": rung_correlations(study),
        "Stopped trials that would have won: expected number": missed_summary(study),
        "Stopped trials most likely to have won": missed_winners(study).head(5),
        "Other settings, replayed on the recorded curves": other_settings(study),
        "Best so far against epochs spent": best_by_part(study),
        "Slots busy over time": utilisation(study),
        "Failures": failures(study),
    }
