"""The comparison of two groups of trials that a claim names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.claims.grammar import Claim, ClaimError, Condition
from analysis.comparable import ACCURACY, Sample
from analysis.early_stopping.controls import Strata
from analysis.early_stopping.late_effects import late_effect
from analysis.schema import TRIAL_ID
from analysis.stats.encode import label_of, order_labels
from analysis.stats.regression import UNKNOWN_EFFECT, Effect, adjusted_effect, welch_effect
from analysis.stats.resampling import MIN_VALUES

MAX_LISTED = 12  # values in an error message; a number drawn from a range has as many values as there are trials
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """The comparison of two groups of trials; positive effects support the claim.

    ``plain``: the difference of the plain means. ``trials``, ``rival_trials``: sizes of the groups. ``late``: the plain
    difference at the last epoch, had ASHA stopped no trial, estimated with control trials.
    """

    effect: Effect
    plain: float
    trials: int
    rival_trials: int
    note: str = ""
    late: Effect = UNKNOWN_EFFECT


def compare_groups(claim: Claim, sample: Sample, strata: Strata | None = None) -> GroupComparison:
    """Compare the two groups of a claim among the trials of ``sample``, and with ``strata`` at the last epoch too."""
    names = list(dict.fromkeys(condition.name for condition in (*claim.group, *claim.rival)))
    group = _trials_with(claim.group, sample)
    if claim.relation in ("best", "worst"):
        return _against_each_other_value(claim, sample, group, strata)
    rival = _trials_with(claim.rival, sample) if claim.rival else ~group
    if (group & rival).any():
        raise ClaimError(f"{int((group & rival).sum())} trials are in both groups; name groups that do not overlap")
    return _compare(sample, group, rival, names, strata, better=claim.relation in (">", "good"))


def _against_each_other_value(claim: Claim, sample: Sample, group: Mask, strata: Strata | None) -> GroupComparison:
    """Compare one value with each other value of its parameter; return the comparison with the closest rival.

    A value is best only if it beats every other value, not if it beats some of them. Trials without a value, and values
    of fewer than MIN_VALUES trials, which can neither be beaten nor beat, are left out; the note names the latter.
    """
    name, own = claim.group[0].name, claim.group[0].values[0]
    labels = _labels(sample, name)
    counts = labels.value_counts().drop(own)
    comparisons = {
        other: _compare(sample, group, labels.eq(other).to_numpy(), [name], strata, better=claim.relation == "best")
        for other in counts[counts >= MIN_VALUES].index
    }
    rare = order_labels(map(str, counts[counts < MIN_VALUES].index))
    left_out = f"left out, with fewer than {MIN_VALUES} trials: {_listed(rare)}" if rare else ""
    if not comparisons:
        return GroupComparison(UNKNOWN_EFFECT, np.nan, int(group.sum()), int(counts.sum()), note=left_out)
    closest = min(comparisons, key=lambda other: np.nan_to_num(comparisons[other].effect.value, nan=-np.inf))
    comparison = comparisons[closest]
    p_values = [each.effect.p for each in comparisons.values()]
    # To beat all rivals, every comparison must hold, so the largest p counts. To lose, one rival is enough, so p is
    # corrected for their number.
    p = max(p_values) if comparison.effect.value > 0 else min(len(p_values) * comparison.effect.p, 1.0)
    p = float("nan") if np.isnan(p_values).any() else p
    notes = [f"against {closest}", comparison.note, left_out]
    return replace(comparison, effect=replace(comparison.effect, p=p), note="; ".join(filter(None, notes)))


def _compare(
    sample: Sample, group: Mask, rival: Mask, names: list[str], strata: Strata | None, *, better: bool
) -> GroupComparison:
    """Compare two groups of trials; ``better``: whether the claim says that ``group`` is the better one."""
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    counts = int(group.sum()), int(rival.sum())
    if min(counts) < MIN_VALUES:
        return GroupComparison(UNKNOWN_EFFECT, float("nan"), *counts, note=f"fewer than {MIN_VALUES} trials in a group")
    plain = welch_effect(accuracy[group], accuracy[rival])
    effect = adjusted_effect(sample, group, rival, names)
    note = "" if np.isfinite(effect.p) else "not adjusted: too few trials to hold the other hyperparameters fixed"
    effect = effect if np.isfinite(effect.p) else plain
    ids = pd.Index(sample.trials[TRIAL_ID]) if strata is not None else pd.Index([])
    late = UNKNOWN_EFFECT if strata is None else late_effect(strata, ids[group], ids[rival])
    supports = better == (sample.sign > 0)  # where lower is better, a negative difference supports "better"
    return GroupComparison(
        effect if supports else -effect,
        plain.value if supports else -plain.value,
        *counts,
        note=note,
        late=late if supports else -late,
    )


def _trials_with(conditions: Iterable[Condition], sample: Sample) -> Mask:
    """A mask of the trials that meet all ``conditions``; raises ClaimError for a value that no trial has."""
    mask = np.ones(len(sample), dtype=bool)
    for condition in conditions:
        labels = _labels(sample, condition.name)
        tried = list(dict.fromkeys(labels.dropna()))
        if unknown := [value for value in condition.values if value not in tried]:
            known = order_labels(map(str, tried))
            raise ClaimError(f"no trial has {condition.name}={', '.join(unknown)}; choose from {_listed(known)}")
        mask &= labels.isin(condition.values).to_numpy()
    return mask


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _labels(sample: Sample, name: str) -> pd.Series:
    if name not in sample.parameters:
        raise ClaimError(
            f"{name} is not a hyperparameter that varied; choose from {', '.join(sample.parameters)}"
            if sample.parameters
            else f"{name} did not vary; no hyperparameter varied among the {len(sample)} trials"
        )
    return sample.trials[name].map(label_of, na_action="ignore")
