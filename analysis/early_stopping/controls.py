"""What control trials show about early stopping: missed winners, late effects, and early against late ranks.

Before it starts, each trial is chosen as a control with the same probability, and a control trains to its end whatever
ASHA says. So among the trials that ASHA stopped or would have stopped, the controls are a simple random sample, whose
final values are known; of the trials that ASHA kept, all are known. Trials that completed without being controls looked
good early and represent nobody else.

Means at the last epoch weigh both strata by their numbers of trials, which is the Horvitz-Thompson estimator (1952)
with the inverse of each trial's probability of being seen, 1 or the share of controls, post-stratified by whether ASHA
stopped the trial (Holt and Smith 1979, J. Roy. Stat. Soc. A 142). How often their intervals hold the truth:
benchmarks/control_trials.py.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.budgets import longest_trial, rungs
from analysis.comparable import ACCURACY, accuracy_within, sample_at
from analysis.schema import BEST_VAL_ACC, COMPLETED, CONTROL, STATE, STOP_EPOCH, STOPPED, TRIAL_ID
from analysis.stats.encode import level_labels
from analysis.stats.regression import UNKNOWN_EFFECT, Effect, welch_effect
from analysis.stats.resampling import CONFIDENCE, Array
from analysis.study import StudyData

MIN_CONTROLS = 5  # ended controls that ASHA would have stopped, needed to say anything about stopped trials
LEAST_OF_A_VALUE = 2  # of these among the trials with one value of a hyperparameter
CHANGES, HOLDS, OPEN = "changes", "same", "undecided"  # the sign of an effect from the first rung to the last epoch
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


def describe_unknown(study: StudyData) -> str:
    """One sentence on what too few control trials leave open; "" if there are enough, or nothing was stopped.

    >>> describe_unknown(study)[:68]
    'How many winners early stopping missed, and whether effects hold at '
    """
    strata = strata_of(study)
    if strata.enough or not len(strata.stopped):
        return ""
    return (
        "How many winners early stopping missed, and whether effects hold at the last epoch, cannot be known "
        f"({len(strata.seen)} ended control trials that ASHA would have stopped, {MIN_CONTROLS} needed; see "
        "--control-fraction)."
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

    ``low``, ``high``: Fisher's z with the variance of Bonett and Wright (2000, Psychometrika 65).
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


def spearman_interval(found: float, n: int) -> tuple[float, float]:
    """The 95 % interval of Spearman's correlation of ``n`` pairs.

    >>> [round(end, 2) for end in spearman_interval(0.5, 24)]
    [0.1, 0.76]
    """
    reach = stats.norm.ppf(1 - TAIL) * np.sqrt((1 + found**2 / 2) / (n - 3))
    z = np.arctanh(np.clip(found, -1 + 1e-9, 1 - 1e-9))
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


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
    decided, changed = int(table["sign"].ne(OPEN).sum()), table[table["sign"].eq(CHANGES)]
    if not len(changed):
        return (
            f"No effect is known to change its sign from {study.unit} {rungs(study)[0]} to {longest_trial(study)} "
            f"(both 95 % intervals exclude 0 for {decided} of {len(table)} values)."
        )
    named = "; ".join(
        f"{row.parameter}={row.value}: {row.early:+.3f} at {study.unit} {row.early_epochs}, {row.late:+.3f} at "
        f"{row.late_epochs}"
        for row in changed.itertuples()
    )
    return f"Effects that change their sign: {named} (95 % intervals exclude 0)."
