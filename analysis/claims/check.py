"""Check claims about hyperparameters at one budget: supported, contradicted or undecided.

The effect of a claim is the difference in mean accuracy with the other hyperparameters held fixed
(``analysis.stats.regression``), or the plain difference if there are too few trials to hold them fixed. All claims that
are checked together are corrected together (Holm): ten claims about nothing have a chance of 5 % in total to get a
verdict. "undecided" means that this study cannot tell, not that there is no difference; the interval shows how large
the difference may be, and ``detectable`` how large one would have to be for a study like this to find it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.claims.grammar import Claim, ClaimError, Condition, read_claims
from analysis.claims.loss_stability import UNSTEADY, sample_with_loss_stability
from analysis.comparable import ACCURACY, Sample, sample_at
from analysis.schema import VAL_LOSS
from analysis.stats.encode import label_of, order_labels, varying_parameters
from analysis.stats.regression import UNKNOWN_EFFECT, Effect, adjusted_effect, welch_effect
from analysis.stats.resampling import CONFIDENCE, MIN_VALUES, holm
from analysis.study import StudyData

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable"
PUBLISHED = 10  # takeaways for nature_12K
TAKEAWAYS = Path(__file__).parent / "takeaways"
MAX_LISTED = 12  # values in an error message; a number drawn from a range has as many values as there are trials
Mask = npt.NDArray[np.bool_]
COLUMNS = [
    "claim", "verdict", "effect", "low", "high", "p_holm", "plain", "trials", "rival_trials", "epochs",
    "detectable", "note",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """The comparison of two groups of trials; positive effects support the claim.

    ``plain``: the difference of the plain means. ``trials``, ``rival_trials``: sizes of the groups.
    """

    effect: Effect
    plain: float
    trials: int
    rival_trials: int
    note: str = ""


def check_claims(
    study: StudyData, claims: Sequence[Claim], epochs: int | None = None, *, lenient: bool = False
) -> pd.DataFrame:
    """One row per claim: verdict, effect with its 95 % interval, corrected p value, and the size of both groups.

    ``detectable``: of an undecided claim, the smallest effect that is found in 80 % of such studies.

    ``epochs``: the budget, by default the epochs that all trials trained for. ``plain`` is the difference of the plain
    means. Effects above 0 support the claim, also where lower values of the metric are better.

    Raises ClaimError for a claim about something that the study did not vary. With ``lenient``, such a claim gets the
    verdict "not testable" instead.

    >>> from analysis.claims.grammar import parse
    >>> table = check_claims(study, [parse("filter_org=2 > 0.5"), parse("activation=relu best")])
    >>> table[["claim", "verdict"]].values.tolist()
    [['filter_org=2 > 0.5', 'supported'], ['activation=relu best', 'undecided']]
    """
    sample = sample_at(study, epochs)
    rows: list[dict[str, Any]] = []
    comparisons = []
    for claim in claims:
        try:
            claim_sample = _sample_for(claim, study, sample)
            comparison = compare_groups(claim, claim_sample)
            rows.append({"claim": claim.text, "epochs": claim_sample.epochs, "note": comparison.note})
        except ClaimError as error:
            if not lenient:
                raise ClaimError(f"claim {claim.text!r}: {error}") from None
            comparison = GroupComparison(UNKNOWN_EFFECT, np.nan, 0, 0)
            rows.append({"claim": claim.text, "verdict": NOT_TESTABLE, "epochs": None, "note": str(error)})
        comparisons.append(comparison)
    tests = tests_among(comparisons)
    for row, comparison, p in zip(rows, comparisons, holm([c.effect.p for c in comparisons]), strict=True):
        effect = comparison.effect
        row.setdefault("verdict", verdict_of(effect.value, p))
        row |= {"effect": effect.value, "low": effect.low, "high": effect.high, "p_holm": p, "plain": comparison.plain}
        row |= {"trials": comparison.trials, "rival_trials": comparison.rival_trials}
        row["detectable"] = detectable_of(row["verdict"], effect, tests)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"epochs": "Int64"})


def verdict_of(effect: float, p: float) -> str:
    """The verdict on a claim that a positive effect supports."""
    if not p <= 1 - CONFIDENCE:
        return UNDECIDED
    return SUPPORTED if effect > 0 else CONTRADICTED


def tests_among(comparisons: Iterable[GroupComparison]) -> int:
    """How many of the comparisons have a p value, so that they are corrected together."""
    return sum(bool(np.isfinite(comparison.effect.p)) for comparison in comparisons)


def detectable_of(verdict: str, effect: Effect, tests: int) -> float:
    """The smallest effect that is found in 80 % of such studies, beside an undecided verdict; else NaN."""
    known = verdict == UNDECIDED and np.isfinite(effect.p)
    return effect.detectable(tests) if known else float("nan")


def verdict_counts(table: pd.DataFrame) -> str:
    """How many claims of a table of ``check_claims`` got each verdict: "8 undecided, 1 contradicted".

    >>> verdict_counts(check_claims(study, published_takeaways(study), lenient=True))
    '4 undecided, 1 supported, 1 contradicted, 1 not testable'
    """
    return ", ".join(f"{count} {verdict}" for verdict, count in table["verdict"].value_counts().items())


def published_takeaways(study: StudyData) -> list[Claim]:
    """The takeaways published for nature_12K that are about hyperparameters that vary in the study, at most PUBLISHED.

    They are in the values of the full or the small space, whichever the study has. The one about the stability of the
    validation loss, which is no hyperparameter, needs that loss and another takeaway that is about the study.

    >>> published_takeaways(study)[1].text
    'batch_norm=True > batch_norm=False'
    """
    files = [read_claims(TAKEAWAYS / name) for name in ("nature_12k.txt", "nature_12k_small.txt")]
    claims = min(files, key=lambda claims: sum(_untried_conditions(claim, study.trials) for claim in claims))
    varying = set(varying_parameters(study.trials, study.parameters))
    about = [claim for claim in claims if {c.name for c in (*claim.group, *claim.rival)} <= varying]
    extra = {UNSTEADY} if about and study.history[VAL_LOSS].notna().any() else set()
    known = {*varying, *extra}
    return [claim for claim in claims if {c.name for c in (*claim.group, *claim.rival)} <= known]


def left_out_takeaways(study: StudyData) -> str:
    """One sentence on the published takeaways that are about other hyperparameters; empty if there are none.

    >>> left_out_takeaways(study)
    '3 of the ten claims published for nature_12K are left out: their hyperparameters do not vary in this study.'
    """
    missing = PUBLISHED - len(published_takeaways(study))
    if missing == PUBLISHED:
        return (
            "None of the ten claims published for nature_12K is about the hyperparameters that vary in this study; "
            'pass claims such as "a=1 > a=2".'
        )
    verb = "is" if missing == 1 else "are"
    whose = "its" if missing == 1 else "their"
    left_out = f"{missing} of the ten claims published for nature_12K {verb} left out"
    return f"{left_out}: {whose} hyperparameters do not vary in this study." if missing else ""


def _untried_conditions(claim: Claim, trials: pd.DataFrame) -> int:
    return sum(
        condition.name in trials and not set(condition.values) <= set(trials[condition.name].map(label_of))
        for condition in (*claim.group, *claim.rival)
    )


def compare_groups(claim: Claim, sample: Sample) -> GroupComparison:
    """Compare the two groups of a claim among the trials of ``sample``."""
    names = list(dict.fromkeys(condition.name for condition in (*claim.group, *claim.rival)))
    group = _trials_with(claim.group, sample)
    if claim.relation in ("best", "worst"):
        return _against_each_other_value(claim, sample, group)
    rival = _trials_with(claim.rival, sample) if claim.rival else ~group
    if (group & rival).any():
        raise ClaimError(f"{int((group & rival).sum())} trials are in both groups; name groups that do not overlap")
    return _compare(sample, group, rival, names, better=claim.relation in (">", "good"))


def _against_each_other_value(claim: Claim, sample: Sample, group: Mask) -> GroupComparison:
    """Compare one value with each other value of its parameter; return the comparison with the closest rival.

    A value is best only if it beats every other value, not if it beats some of them. Trials without a value, and values
    of fewer than MIN_VALUES trials, which can neither be beaten nor beat, are left out; the note names the latter.
    """
    name, own = claim.group[0].name, claim.group[0].values[0]
    labels = _labels(sample, name)
    counts = labels.value_counts().drop(own)
    comparisons = {
        other: _compare(sample, group, labels.eq(other).to_numpy(), [name], better=claim.relation == "best")
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


def _compare(sample: Sample, group: Mask, rival: Mask, names: list[str], *, better: bool) -> GroupComparison:
    """Compare two groups of trials; ``better``: whether the claim says that ``group`` is the better one."""
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    counts = int(group.sum()), int(rival.sum())
    if min(counts) < MIN_VALUES:
        return GroupComparison(UNKNOWN_EFFECT, float("nan"), *counts, note=f"fewer than {MIN_VALUES} trials in a group")
    plain = welch_effect(accuracy[group], accuracy[rival])
    effect = adjusted_effect(sample, group, rival, names)
    note = "" if np.isfinite(effect.p) else "not adjusted: too few trials to hold the other hyperparameters fixed"
    effect = effect if np.isfinite(effect.p) else plain
    supports = better == (sample.sign > 0)  # where lower is better, a negative difference supports "better"
    return GroupComparison(
        effect if supports else -effect, plain.value if supports else -plain.value, *counts, note=note
    )


def _sample_for(claim: Claim, study: StudyData, sample: Sample) -> Sample:
    """The sample for a claim; claims about the stability of the loss need a sample with longer curves."""
    if any(condition.name == UNSTEADY for condition in (*claim.group, *claim.rival)):
        return sample_with_loss_stability(study, sample)
    return sample


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
