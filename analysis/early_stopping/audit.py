"""Was early stopping worth it? What it saved, whether early ranks predict final ranks, and how many winners it missed.

The final accuracy of a stopped trial is unknown, and completed trials, which looked good early, say nothing about it.
Only control trials do (``analysis.early_stopping.controls``).
"""

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis.budgets import epochs_of, rungs, trainings_of
from analysis.comparable import accuracy_within
from analysis.early_stopping.controls import control_correlation, missed_summary
from analysis.early_stopping.late_effects import effects_early_and_late
from analysis.early_stopping.replay import other_settings
from analysis.early_stopping.timeline import best_by_part, utilisation
from analysis.failures import Failure, attempt
from analysis.schema import COMPLETED, ERROR, FAILED, SECONDS, STATE, STOPPED, TRIAL_ID
from analysis.stats.correlation import correlate
from analysis.stats.resampling import ROUNDS, Array, bootstrap_indices, percentile_interval
from analysis.study import StudyData
from analysis.wording import in_unit


def savings(study: StudyData) -> pd.DataFrame:
    """Epochs and seconds that early stopping saved, one row per alternative.

    "max_epochs": every stopped trial trains to the last epoch (of each fold and repeat, if there are several), at its
    own seconds per epoch. "as completed trials":
    every stopped trial trains as long as completed trials did on average; patience ends many of them earlier.

    >>> savings(study)[["against", "stopped", "epochs_spent", "epochs_saved"]].head(1).values.tolist()
    [['max_epochs', 30, 360.0, 180.0]]
    """
    trials = study.trials
    trained = epochs_of(trials)
    stopped, completed = trained[trials[STATE].eq(STOPPED)], trained[trials[STATE].eq(COMPLETED)].dropna()
    pace = (trials.loc[stopped.index, SECONDS] / stopped.where(stopped > 0)).fillna(0.0)
    last = rungs(study)[-1] * trainings_of(study)
    goals = {
        in_unit("max_epochs", study.unit): float(last),
        "as completed trials": float(completed.mean()) if len(completed) else np.nan,
    }
    spent = float(trained.sum()), float(trials[SECONDS].sum(min_count=1))
    rows = []
    for against, goal in goals.items():
        remaining = (goal - stopped).clip(lower=0)
        epochs, seconds = remaining.sum(skipna=False), (remaining * pace).sum(skipna=False)
        rows.append(
            {"against": against, "epochs_per_trial": goal, "stopped": len(stopped), "of": len(trials),
             "epochs_spent": spent[0], "epochs_saved": epochs, "share_saved": epochs / max(spent[0] + epochs, 1),
             "seconds_spent": spent[1], "seconds_saved": seconds}
        )  # fmt: skip
    return pd.DataFrame(rows)


def rung_correlations(study: StudyData) -> pd.DataFrame:
    """Spearman's correlation of the accuracies at two rungs, over the trials that reached the later rung.

    Trials that ran out of patience in between keep the accuracy that they reached. Only survivors have a later
    accuracy, and similar trials change ranks easily, so the correlation over all trials would be higher.

    >>> rung_correlations(study)[["early", "late", "trials", "spearman"]].round(2).values.tolist()
    [[3.0, 9.0, 30.0, 0.84]]
    """
    trials = study.trials.set_index(TRIAL_ID)
    trained = epochs_of(trials)
    rows = []
    for early, late in itertools.combinations(rungs(study), 2):
        whole = trained.ge(late) | (trials[STATE].eq(COMPLETED) & trained.ge(early))
        pair = [accuracy_within(study, epochs).reindex(trials.index[whole]) for epochs in (early, late)]
        both = pd.concat(pair, axis=1, keys=["early", "late"]).dropna().to_numpy()
        rows.append({"early": early, "late": late, "trials": len(both), **_spearman(both)})
    return pd.DataFrame(rows, columns=["early", "late", "trials", "spearman", "low", "high"])


def _spearman(both: Array) -> dict[str, float]:
    if len(both) < 3:
        return dict.fromkeys(("spearman", "low", "high"), float("nan"))
    drawn = both[np.vstack([np.arange(len(both))[None], bootstrap_indices(len(both), ROUNDS)])]
    ranks = rankdata(drawn, axis=1)
    found = correlate(ranks[:, :, :1], ranks[:, :, 1])[:, 0]
    low, high = percentile_interval(found[1:], len(both))
    return {"spearman": float(found[0]), "low": low, "high": high}


def failures(study: StudyData) -> pd.DataFrame:
    """Failed trials by reason, most frequent first.

    The reason is the first line of the error. Errors that differ only in numbers count as the same reason.

    >>> failed = study.trials.assign(state="failed", error="out of memory: 12 GB")
    >>> failures(StudyData(failed, study.history, study.info))[["reason", "trials"]].values.tolist()
    [['out of memory: 12 GB', 60]]
    """
    failed = study.trials[study.trials[STATE].eq(FAILED)]
    errors = failed[ERROR].fillna("").astype(str).str.strip().replace("", "no reason recorded")
    reasons = errors.str.split("\n").str[0].str.slice(0, 160)
    without_numbers = reasons.str.replace(r"0x[0-9a-fA-F]+|\d+(\.\d+)?", "#", regex=True)
    rows = [
        {"reason": reasons[group.index[0]], "trials": len(group), "share": len(group) / len(study.trials),
         "epochs": float(epochs_of(group).median()), "seconds": float(group[SECONDS].sum(min_count=1)),
         "examples": ", ".join(group[TRIAL_ID].astype(str).head(3))}
        for _, group in failed.groupby(without_numbers, sort=False)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["reason", "trials", "share", "epochs", "seconds", "examples"])
    return table.sort_values("trials", ascending=False, kind="stable", ignore_index=True)


MISSED = "Winners that early stopping missed, from control trials"
CORRELATION = "Rank correlation of first rung and end, control trials"
EFFECTS = "Effects at the first rung and at the end, with control trials"
NOTES = {
    "Epochs and seconds saved": (
        "Compared with training every stopped trial to the last epoch (of each fold and repeat), or as long as "
        "completed trials on average."
    ),
    "Rank correlation between rungs, survivors only": "1: both rungs rank the trials in the same order.",
    MISSED: (
        "Of the stopped trials, controls trained to their end, and won of them beat the best trial that ASHA kept; "
        "expected: that share of all stopped trials, with its exact 95 % interval."
    ),
    CORRELATION: "Controls are a random sample of all trials, so this holds for stopped trials, too.",
    EFFECTS: (
        "Mean of the trials with the value minus mean of the others, other hyperparameters not held fixed; late: "
        "had no trial been stopped, estimated with the control trials."
    ),
    "Other settings, replayed on the recorded curves": (
        "unknown: stopped trials that the setting would have continued beyond their recorded curve; epochs and best "
        "are then lower bounds (whole: no such trial); same_stops: trials stopped at the same epoch as in this study; "
        "own: the setting of this study."
    ),
    "Slots busy over time": "busy: trials that train at the same time. Waiting, starting and saving count as idle.",
}


def audit_tables(study: StudyData, failed: list[Failure] | None = None) -> dict[str, pd.DataFrame]:
    """All tables of the audit, by title; NOTES explains their columns.

    With ``failed``, a table that raises an error is left out and recorded there.

    >>> list(audit_tables(study))[:2]
    ['Epochs and seconds saved', 'Rank correlation between rungs, survivors only']
    """
    makers: dict[str, Callable[[StudyData], pd.DataFrame]] = {
        "Epochs and seconds saved": savings,
        "Rank correlation between rungs, survivors only": rung_correlations,
        MISSED: missed_summary,
        CORRELATION: control_correlation,
        EFFECTS: effects_early_and_late,
        "Other settings, replayed on the recorded curves": other_settings,
        "Best so far against epochs spent": best_by_part,
        "Slots busy over time": utilisation,
        "Failures": failures,
    }
    if failed is None:
        return {title: make(study) for title, make in makers.items()}
    tables = {}
    for title, make in makers.items():
        table = attempt(f"table {title!r}", lambda make=make: make(study), failed)  # type: ignore[misc]
        if table is not None:
            tables[title] = table
    return tables
