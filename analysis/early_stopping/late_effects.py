"""Effects at the last epoch beside those at the first rung: which of them hold, and which change their sign.

At the last epoch, ASHA has left the trials that looked good early, so their effects there are biased. Control trials
(``analysis.early_stopping.controls``) stand for the stopped ones. Means weigh kept and stopped trials by their numbers,
which is the Horvitz-Thompson estimator (1952) with the inverse of each trial's probability of being seen, 1 or the
share of controls, post-stratified by whether ASHA stopped the trial (Holt and Smith 1979, J. Roy. Stat. Soc. A 142).
How often their intervals hold the truth: benchmarks/control_trials.py.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.budgets import longest_trial, rungs
from analysis.comparable import ACCURACY, sample_at
from analysis.early_stopping.controls import MIN_CONTROLS, TAIL, Strata, describe_missed, describe_unknown, strata_of
from analysis.schema import TRIAL_ID
from analysis.stats.encode import level_labels
from analysis.stats.regression import UNKNOWN_EFFECT, Effect, welch_effect
from analysis.stats.resampling import Array
from analysis.study import StudyData
from analysis.wording import counted

LEAST_OF_A_VALUE = 2  # controls that ASHA would have stopped, among the trials with one value of a hyperparameter
CHANGES, HOLDS, OPEN = "changes", "same", "undecided"  # the sign of an effect from the first rung to the last epoch


def late_effect(strata: Strata, first: pd.Index, second: pd.Index) -> Effect:
    """Mean final value of the trials ``first`` minus that of ``second``, had ASHA stopped none; unknown with few seen.

    Each group's mean is that of its kept trials and of its controls that ASHA would have stopped, weighted by the
    numbers of kept and stopped trials. The variance is that of double sampling for stratification (Cochran 1977,
    Sampling Techniques, section 12.2), each stratum's pooled over the two groups; the degrees of freedom are
    Satterthwaite's.
    """
    parts = [_group(strata, ids) for ids in (first, second)]
    if any(part is None for part in parts):
        return UNKNOWN_EFFECT
    known = [part for part in parts if part is not None]
    difference = known[0].mean - known[1].mean
    variance, per_degree = 0.0, 0.0
    for values in zip(*(part.strata for part in known), strict=True):  # kept ones, then seen ones
        degrees = sum(max(len(each) - 1, 0) for each, _ in values)
        squares = sum(float(((each - each.mean()) ** 2).sum()) for each, _ in values if len(each))
        if not degrees:
            continue
        own = sum(share**2 / len(each) for each, share in values if len(each)) * squares / degrees
        variance, per_degree = variance + own, per_degree + own**2 / degrees
    for part in known:  # which share ASHA stops differs from study to study, too
        own = part.between
        variance, per_degree = variance + own, per_degree + own**2 / max(part.size - 1, 1)
    if not variance:
        return UNKNOWN_EFFECT
    error, degrees_of_all = variance**0.5, variance**2 / per_degree
    reach = float(stats.t.ppf(1 - TAIL, degrees_of_all)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, degrees_of_all))
    return Effect(difference, difference - reach, difference + reach, p)


def late_strata(study: StudyData, epochs: int | None) -> Strata | None:
    """The final values for effects at the last epoch beside those at ``epochs``; None if there is nothing to show.

    They are known with enough control trials. Where no trial was stopped early, all of them are known, and say
    something new if ``epochs`` is not the last one.
    """
    strata = strata_of(study)
    earlier = epochs is not None and epochs < longest_trial(study)
    return strata if strata.enough or (earlier and not len(strata.stopped)) else None


@dataclass(frozen=True, slots=True)
class _Group:
    mean: float
    size: int
    between: float  # variance of the mean from the numbers of kept and stopped trials
    strata: tuple[tuple[Array, float], tuple[Array, float]]  # values and share of all trials: kept, stopped


def _group(strata: Strata, ids: pd.Index) -> _Group | None:
    kept = strata.kept[strata.kept.index.isin(ids)].to_numpy(dtype=float)
    seen = strata.seen[strata.seen.index.isin(ids)].to_numpy(dtype=float)
    stopped = int(strata.stopped.isin(ids).sum())
    total = len(kept) + stopped
    if not total or (stopped and len(seen) < LEAST_OF_A_VALUE):
        return None
    share = stopped / total
    means = [float(each.mean()) if len(each) else 0.0 for each in (kept, seen)]
    between = share * (1 - share) * (means[0] - means[1]) ** 2 / total
    mean = (1 - share) * means[0] + share * means[1]
    return _Group(mean, total, between, ((kept, 1 - share), (seen, share)))


def effects_early_and_late(study: StudyData) -> pd.DataFrame:
    """One row per value of each hyperparameter: its plain effect against the other values, at first rung and end.

    ``early`` is the difference of means at the first rung, over all trials that reached it; ``late`` that of the final
    values, had ASHA stopped none (``late_effect``). ``sign`` is "changes" where the 95 % intervals of both exclude 0 on
    different sides, "same" on the same side, else "undecided". Empty if there are too few control trials.
    """
    columns = [
        "parameter", "value", "trials", "early", "early_low", "early_high", "early_epochs", "late", "late_low",
        "late_high", "late_epochs", "sign",
    ]  # fmt: skip
    strata, first, last = strata_of(study), rungs(study)[0], longest_trial(study)
    if not strata.enough or first >= last:
        return pd.DataFrame(columns=columns)
    sample = sample_at(study, first)
    ids, accuracy = pd.Index(sample.trials[TRIAL_ID]), sample.trials[ACCURACY].to_numpy(dtype=float)
    rows = []
    for name in sample.parameters:
        labels = level_labels(sample.trials[name])
        for value in labels.cat.categories:
            own = labels.eq(value).to_numpy(dtype=bool)
            if min(own.sum(), (~own).sum()) < MIN_CONTROLS:
                continue
            early = welch_effect(accuracy[own], accuracy[~own])
            late = late_effect(strata, ids[own], ids[~own])
            rows.append(
                (name, value, int(own.sum()), early.value, early.low, early.high, first, late.value, late.low,
                 late.high, last, sign_change(early, late))
            )  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def sign_change(early: Effect, late: Effect) -> str:
    """Whether an effect has another sign at the end: CHANGES, HOLDS, or OPEN where an interval has 0 or is unknown."""
    sides = [int(np.sign(each.value)) if each.low * each.high > 0 else 0 for each in (early, late)]
    if 0 in sides:
        return OPEN
    return HOLDS if sides[0] == sides[1] else CHANGES


def describe_changes(study: StudyData) -> str:
    """Name the effects whose sign changes, with their budgets; "" if there are too few control trials."""
    table = effects_early_and_late(study)
    if not len(table):
        return ""
    same, changed = int(table["sign"].eq(HOLDS).sum()), table[table["sign"].eq(CHANGES)]
    if not len(changed):
        return (
            f"From {study.unit} {rungs(study)[0]} to {longest_trial(study)}, {same} of {counted(len(table), 'effect')} "
            "of single values keep their sign, and none is known to change it (the others are undecided: a 95 % "
            "interval includes 0 or is unknown)."
        )
    named = "; ".join(
        f"{row.parameter}={row.value}: {row.early:+.3f} at {study.unit} {row.early_epochs}, {row.late:+.3f} at "
        f"{row.late_epochs}"
        for row in changed.itertuples()
    )
    return f"Effects that change their sign: {named} (95 % intervals exclude 0)."


def describe_ends(study: StudyData, what: str = "these verdicts hold") -> str:
    """One line beside verdicts at an early budget: which effects change their sign at the end, or that it is unknown.

    "" for a study without stopped trials, whose verdicts are those at the end.

    >>> describe_ends(study)[:67]
    'Whether these verdicts hold at epoch 9, the last, cannot be known ('
    """
    unknown = f"Whether {what} at {study.unit} {longest_trial(study)}, the last,"
    return describe_changes(study) or describe_unknown(study, unknown)


def describe_budgets(study: StudyData, epochs: int | None) -> str:
    """One line beside verdicts at the budget ``epochs``: ``describe_ends``, or that there is no other budget.

    >>> describe_budgets(study, 3) == describe_ends(study)
    True
    """
    last = longest_trial(study)
    if len(strata_of(study).stopped) or epochs is None:
        return describe_ends(study)
    none = f"No trial was stopped early, so these verdicts are about {study.unit} {epochs},"
    return (
        f"{none} the last: there is one budget."
        if epochs >= last
        else (f"{none} and the columns late to sign are about {study.unit} {last}, the last, with all trials.")
    )


def control_findings(study: StudyData) -> list[str]:
    """What control trials show about early stopping, one sentence each, or one sentence on what cannot be known."""
    return [*filter(None, (describe_unknown(study), describe_missed(study), describe_changes(study)))]
