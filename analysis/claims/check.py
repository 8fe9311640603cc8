"""Check claims about hyperparameters at one budget: supported, contradicted or undecided.

The effect of a claim is the difference in mean accuracy with the other hyperparameters held fixed
(``analysis.stats.regression``), or the plain difference if there are too few trials to hold them fixed. All claims that
are checked together are corrected together (Holm): ten claims about nothing have a chance of 5 % in total to get a
verdict. "undecided" means that this study cannot tell, not that there is no difference; the interval shows how large
the difference may be, and ``detectable`` how large one would have to be for a study like this to find it.

A verdict holds at its budget only. In a study with enough control trials (``analysis.early_stopping.late_effects``),
or without early stopping and at an earlier budget than the last, the effect at the last epoch stands beside it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.budgets import longest_trial
from analysis.claims.grammar import Claim, ClaimError, read_claims
from analysis.claims.groups import GroupComparison, compare_groups
from analysis.claims.loss_stability import UNSTEADY, sample_with_loss_stability
from analysis.comparable import Sample, sample_at
from analysis.early_stopping.late_effects import late_strata, sign_change
from analysis.schema import VAL_LOSS
from analysis.stats.encode import label_of, varying_parameters
from analysis.stats.regression import UNKNOWN_EFFECT, Effect
from analysis.stats.resampling import CONFIDENCE, holm
from analysis.study import StudyData

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = "supported", "contradicted", "undecided", "not testable"
PUBLISHED = 10  # takeaways for nature_12K
TAKEAWAYS = Path(__file__).parent / "takeaways"
# Where it is known: the effect at the last epoch, and whether its sign is the same.
LATE_COLUMNS = ["late", "late_low", "late_high", "late_epochs", "sign"]
COLUMNS = [
    "claim", "verdict", "effect", "low", "high", "p_holm", "plain", "trials", "rival_trials", "epochs",
    "detectable", "note",
]  # fmt: skip


def check_claims(
    study: StudyData, claims: Sequence[Claim], epochs: int | None = None, *, lenient: bool = False
) -> pd.DataFrame:
    """One row per claim: verdict, effect with its 95 % interval, corrected p value, and the size of both groups.

    ``detectable``: of an undecided claim, the smallest effect that is found in 80 % of such studies.

    ``epochs``: the budget, by default the epochs that all trials trained for. ``plain`` is the difference of the plain
    means. Effects above 0 support the claim, also where lower values of the metric are better. Where ``late_strata``
    knows final values, ``late`` is the plain effect at the last epoch, ``late_epochs``, and ``sign`` "changes" where
    both intervals exclude 0 on different sides.

    Raises ClaimError for a claim about something that the study did not vary. With ``lenient``, such a claim gets the
    verdict "not testable" instead.

    >>> from analysis.claims.grammar import parse
    >>> table = check_claims(study, [parse("filter_org=2 > 0.5"), parse("activation=relu best")])
    >>> table[["claim", "verdict"]].values.tolist()
    [['filter_org=2 > 0.5', 'supported'], ['activation=relu best', 'undecided']]
    """
    sample = sample_at(study, epochs)
    strata = late_strata(study, sample.epochs)
    rows: list[dict[str, Any]] = []
    comparisons = []
    for claim in claims:
        try:
            claim_sample = _sample_for(claim, study, sample)
            comparison = compare_groups(claim, claim_sample, strata)
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
        row |= late_row(comparison, longest_trial(study))
    columns = [*COLUMNS, *(LATE_COLUMNS if strata is not None else [])]
    return pd.DataFrame(rows, columns=columns).astype({"epochs": "Int64"})


def late_row(comparison: GroupComparison, last: int) -> dict[str, Any]:
    """The LATE_COLUMNS of a comparison in a study whose last epoch is ``last``."""
    late = comparison.late
    ends = (late.value, late.low, late.high, last, sign_change(comparison.effect, late))
    return dict(zip(LATE_COLUMNS, ends, strict=True))


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


def _sample_for(claim: Claim, study: StudyData, sample: Sample) -> Sample:
    """The sample for a claim; claims about the stability of the loss need a sample with longer curves."""
    if any(condition.name == UNSTEADY for condition in (*claim.group, *claim.rival)):
        return sample_with_loss_stability(study, sample)
    return sample
