"""Was early stopping worth it? What it saved, whether early ranks predict final ranks, and which winners it missed.

The final accuracy of a stopped trial is unknown. It is estimated from the completed trials, which looked good early.
Trials that start slowly and end well are missing from the completed trials, as they are from the study, so the
estimates of missed winners are too low rather than too high.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import beta, rankdata

from analysis.budgets import epochs_of, longest_trial, rungs, trainings_of
from analysis.comparable import accuracy_within, mask_infinite
from analysis.early_stopping.replay import other_settings
from analysis.early_stopping.timeline import best_by_part, utilisation
from analysis.failures import Failure, attempt
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCHS, ERROR, FAILED, SECONDS, STATE, STOPPED, TRIAL_ID, VAL_ACC
from analysis.stats.correlation import correlate
from analysis.stats.resampling import CONFIDENCE, ROUNDS, Array, bootstrap_indices, percentile_interval
from analysis.study import StudyData
from analysis.wording import in_unit

MIN_COMPLETED = 5  # completed trials needed for an estimate
LIKELY = 0.5


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


def missed_winners(study: StudyData) -> pd.DataFrame:
    """One row per stopped trial: the chance that it would have beaten the best completed trial.

    ``needed``: the share of its remaining error that the trial had to remove to win; for a metric without a known
    limit, the gain itself. ``chance``: the share of the ``completed`` trials that removed more than that from the same
    epoch on, with Jeffreys' 95 % interval (``low``, ``high``). This assumes that stopped trials would have gained as
    completed trials did, whatever their hyperparameters.

    >>> missed_winners(study)[["trial_id", "epochs", "chance"]].head(1).round(2).values.tolist()
    [['t0009', 3, 0.43]]
    """
    trials = study.trials.set_index(TRIAL_ID)
    completed = trials.index[trials[STATE].eq(COMPLETED) & trials[BEST_VAL_ACC].notna()]
    stopped = trials[trials[STATE].eq(STOPPED) & trials[BEST_VAL_ACC].notna()]
    columns = ["trial_id", "epochs", "best_val_acc", "needed", "chance", "low", "high", "completed"]
    if len(completed) < MIN_COMPLETED:
        return pd.DataFrame(columns=columns)
    goal, limit = float(trials.loc[completed, BEST_VAL_ACC].agg(study.mode)), best_possible(study)
    final = accuracy_within(study, longest_trial(study)).reindex(completed)
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


def best_possible(study: StudyData) -> float | None:
    """The highest possible value of ``sign * metric``, or None if the recorded values show no limit.

    1 for a share such as an accuracy; 0 for a loss, which is never negative; None for a reward.
    """
    values = study.sign * mask_infinite(study.history[VAL_ACC]).dropna()
    if values.between(0, 1).all():
        return 1.0
    return 0.0 if values.le(0).all() else None


def _gain(early: pd.Series, late: pd.Series | float, limit: float | None) -> pd.Series:
    """The gain of each trial, as a share of its possible gain if there is a limit; higher values are better."""
    possible = pd.Series(1.0, early.index) if limit is None else limit - early
    return ((late - early) / possible).where(possible.ne(0), 0.0)


def _proportion(hits: int, total: int) -> tuple[float, float, float]:
    """The share hits / total with Jeffreys' interval."""
    if not total:
        return float("nan"), 0.0, 1.0
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits + 0.5, total - hits + 0.5)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 0.5, total - hits + 0.5)) if hits < total else 1.0
    return hits / total, low, high


def missed_summary(study: StudyData) -> pd.DataFrame:
    """One row: the expected number of stopped trials that would have won, and the number of likely winners.

    ``low`` and ``high`` are sums over the intervals of all trials, because all chances depend on the same few completed
    trials and err together. The interval has to be wide: in 30 simulated searches ``expected`` was below 0.01 per
    search, while stopping had missed 3 winners in total (benchmarks/analysis_truth.py).

    >>> missed_summary(study)[["stopped", "completed", "likely"]].values.tolist()
    [[30, 30, 0]]
    """
    winners = missed_winners(study)
    known = len(winners) > 0
    stopped = int(study.trials[STATE].eq(STOPPED).sum())
    expected = {name: winners[column].sum() if known else np.nan
                for name, column in (("expected", "chance"), ("low", "low"), ("high", "high"))}  # fmt: skip
    likely = int(winners["chance"].ge(LIKELY).sum()) if known else 0
    completed = int(study.trials[STATE].eq(COMPLETED).sum())
    return pd.DataFrame([{"stopped": stopped, "completed": completed, **expected, "likely": likely}])


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


NOTES = {
    "Epochs and seconds saved": (
        "Compared with training every stopped trial to the last epoch (of each fold and repeat), or as long as "
        "completed trials on average."
    ),
    "Rank correlation between rungs, survivors only": "1: both rungs rank the trials in the same order.",
    "Stopped trials that would have won: expected number": (
        "expected: the sum of the chances of all stopped trials; low, high: the sums of their 95 % intervals."
    ),
    "Stopped trials most likely to have won": (
        "needed: the share of the remaining error that the trial had to remove to beat the best trial; chance: the "
        "share of completed trials that removed more than that from the same epoch on."
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
        "Stopped trials that would have won: expected number": missed_summary,
        "Stopped trials most likely to have won": lambda study: missed_winners(study).head(5),
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
