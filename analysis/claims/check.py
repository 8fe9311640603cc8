"""Claims about hyperparameters, checked: supported, contradicted or undecided, at one budget.

The effect is the difference in mean accuracy with the other hyperparameters held fixed (analysis.stats.regression), or
the plain difference where too few trials are left to hold them fixed. All claims that are checked together are
corrected together (Holm), so that ten claims about nothing have one chance in twenty, all told, of a verdict.
"undecided" means that this study cannot tell, not that there is no difference; the interval says how large it could be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from analysis.claims.grammar import Claim, ClaimError, Condition, read_claims
from analysis.claims.loss_stability import UNSTEADY, unsteady_sample
from analysis.comparable import ACCURACY, Sample, sample_at
from analysis.stats.encode import label_of
from analysis.stats.regression import UNKNOWN, Effect, adjusted_difference, with_error
from analysis.stats.resampling import LEAST, LEVEL, holm
from analysis.study import Study

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable"
TAKEAWAYS = Path(__file__).parent / "takeaways"
MOST_LISTED = 12  # values in an error; a number that was drawn from a range has as many as there are trials
Mask = npt.NDArray[np.bool_]
COLUMNS = [
    "claim", "verdict", "effect", "low", "high", "p_holm", "plain", "trials", "rival_trials", "epochs", "note",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What the trials say of one comparison; a positive effect speaks for the claim."""

    effect: Effect
    plain: float
    trials: int
    rivals: int
    note: str = ""


def check(study: Study, claims: Sequence[Claim], epochs: int | None = None, *, lenient: bool = False) -> pd.DataFrame:
    """A row for each claim: verdict, effect with its 95 % interval, corrected p, and how many trials of each group.

    ``epochs`` is the budget, by default the one that all trials had. ``plain`` is the difference of the plain means.
    Effects speak for the claim where they are above 0, whichever way the metric goes.
    A claim about what the study did not vary raises ClaimError, or is NOT_TESTABLE if ``lenient``.
    """
    sample = sample_at(study, epochs)
    rows: list[dict[str, Any]] = []
    findings = []
    for claim in claims:
        try:
            own = _sample_for(claim, study, sample)
            finding = examine(claim, own)
            rows.append({"claim": claim.text, "epochs": own.epochs, "note": finding.note})
        except ClaimError as error:
            if not lenient:
                raise ClaimError(f"claim {claim.text!r}: {error}") from None
            finding = Finding(UNKNOWN, np.nan, 0, 0)
            rows.append({"claim": claim.text, "verdict": NOT_TESTABLE, "epochs": None, "note": str(error)})
        findings.append(finding)
    for row, finding, p in zip(rows, findings, holm([f.effect.p for f in findings]), strict=True):
        effect = finding.effect
        row.setdefault("verdict", verdict_of(effect.value, p))
        row |= {"effect": effect.value, "low": effect.low, "high": effect.high, "p_holm": p, "plain": finding.plain}
        row |= {"trials": finding.trials, "rival_trials": finding.rivals}
    return pd.DataFrame(rows, columns=COLUMNS).astype({"epochs": "Int64"})


def verdict_of(effect: float, p: float) -> str:
    """The verdict on a claim for which a positive effect speaks."""
    if not p <= 1 - LEVEL:
        return UNDECIDED
    return SUPPORTED if effect > 0 else CONTRADICTED


def takeaways(study: Study) -> list[Claim]:
    """The predecessor's ten takeaways, in the values of the full space or the small one, whichever this study tried."""
    files = [read_claims(TAKEAWAYS / name) for name in ("predecessor.txt", "predecessor_small.txt")]
    return min(files, key=lambda claims: sum(_untestable(claim, study.trials) for claim in claims))


def _untestable(claim: Claim, trials: pd.DataFrame) -> int:
    return sum(
        condition.name in trials and not set(condition.values) <= set(trials[condition.name].map(label_of))
        for condition in (*claim.group, *claim.rival)
    )


def examine(claim: Claim, sample: Sample) -> Finding:
    """Compare the groups of a claim among the trials of ``sample``."""
    names = list(dict.fromkeys(condition.name for condition in (*claim.group, *claim.rival)))
    group = _having(claim.group, sample)
    if claim.relation in ("best", "worst"):
        return _against_each(claim, sample, group)
    rival = _having(claim.rival, sample) if claim.rival else ~group
    if (group & rival).any():
        raise ClaimError(
            f"claim {claim.text!r}: {int((group & rival).sum())} trials are in both groups; set them apart"
        )
    return _compare(sample, group, rival, names, better=claim.relation in (">", "good"))


def _against_each(claim: Claim, sample: Sample, group: Mask) -> Finding:
    """One value against each other one: best only if it beats all, not if any beats it; the closest one is told."""
    name = claim.group[0].name
    labels = sample.trials[name].map(label_of)
    others = [label for label in labels.unique() if label != claim.group[0].values[0]]
    found = {
        other: _compare(sample, group, labels.eq(other).to_numpy(), [name], better=claim.relation == "best")
        for other in others
    }
    closest = min(found, key=lambda other: np.nan_to_num(found[other].effect.value, nan=-np.inf))
    finding = found[closest]
    p_values = [each.effect.p for each in found.values()]
    # To beat all, each comparison must hold, so the weakest counts; to be beaten, any will do, so they are corrected.
    p = max(p_values) if finding.effect.value > 0 else min(len(p_values) * finding.effect.p, 1.0)
    p = float("nan") if np.isnan(p_values).any() else p
    return replace(finding, effect=replace(finding.effect, p=p), note=f"against {closest}; {finding.note}".rstrip("; "))


def _compare(sample: Sample, group: Mask, rival: Mask, names: list[str], *, better: bool) -> Finding:
    accuracy = sample.trials[ACCURACY].to_numpy(dtype=float)
    counts = int(group.sum()), int(rival.sum())
    if min(counts) < LEAST:
        return Finding(UNKNOWN, float("nan"), *counts, note=f"fewer than {LEAST} trials in a group")
    plain = welch(accuracy[group], accuracy[rival])
    effect = adjusted_difference(sample, group, rival, names)
    note = "" if np.isfinite(effect.p) else "not adjusted for the other hyperparameters: too few trials for that"
    effect = effect if np.isfinite(effect.p) else plain
    better = better == (sample.sign > 0)  # of a loss, the lower one is better
    return Finding(effect if better else -effect, plain.value if better else -plain.value, *counts, note=note)


def welch(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> Effect:
    """The difference of two means with Welch's interval."""
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return with_error(float(first.mean() - second.mean()), 0.0, len(first) + len(second) - 2)
    test = stats.ttest_ind(first, second, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    return Effect(float(first.mean() - second.mean()), float(low), float(high), float(test.pvalue))


def _sample_for(claim: Claim, study: Study, sample: Sample) -> Sample:
    """The sample with the parameter that a claim is about; whether a loss is steady shows in longer curves only."""
    if any(condition.name == UNSTEADY for condition in (*claim.group, *claim.rival)):
        return unsteady_sample(study, sample)
    return sample


def _having(conditions: Iterable[Condition], sample: Sample) -> Mask:
    having = np.ones(len(sample), dtype=bool)
    for condition in conditions:
        labels = _labels(sample, condition.name)
        tried = list(dict.fromkeys(labels.dropna()))
        if unknown := [value for value in condition.values if value not in tried]:
            known = sorted(map(str, tried))
            more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
            listed = ", ".join(known[:MOST_LISTED]) + more
            raise ClaimError(f"{condition.name}={', '.join(unknown)} was not tried; those tried are {listed}")
        having &= labels.isin(condition.values).to_numpy()
    return having


def _labels(sample: Sample, name: str) -> pd.Series:
    if name not in sample.parameters:
        known = (
            f"those are {', '.join(sample.parameters)}" if sample.parameters else f"of {len(sample)} trials none did"
        )
        raise ClaimError(f"{name} is no hyperparameter that varied; {known}")
    return sample.trials[name].map(label_of, na_action="ignore")
