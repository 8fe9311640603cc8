"""Check what was published about fine-tuning on nature_12K: learning rates, unfrozen stages, and convergence.

Each claim is checked as those about scratch networks are (``analysis.claims.check``): at an equal number of epochs,
other hyperparameters held fixed, corrected together (Holm), and with the effect at the last epoch where it is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.budgets import longest_trial
from analysis.claims.check import COLUMNS, LATE_COLUMNS, NOT_TESTABLE, detectable_of, late_row, tests_among, verdict_of
from analysis.claims.grammar import Claim, ClaimError, Condition
from analysis.claims.groups import GroupComparison, compare_groups
from analysis.comparable import Sample, sample_at
from analysis.early_stopping.controls import Strata
from analysis.early_stopping.late_effects import late_strata
from analysis.nothing_to_compare import NothingToCompareError
from analysis.schema import EPOCH, TRIAL_ID
from analysis.side_by_side.convergence import epochs_to_95
from analysis.side_by_side.same_data import differences
from analysis.stats.encode import varying_parameters
from analysis.stats.regression import UNKNOWN_EFFECT, welch_effect
from analysis.stats.resampling import MIN_VALUES, Array, holm
from analysis.study import StudyData

RATES = (3e-4, 8e-4)  # published as the best for freeze_partial
RATE_CLAIM = "freeze_partial: learning_rate 0.0003 to 0.0008 > other rates"
STAGES_CLAIM = "2 or 3 unfrozen stages best"
CONVERGENCE_CLAIM = "fine-tuning needs fewer epochs to 95 % of its best than training from scratch"
PARTIAL, FROZEN, WHOLE = "freeze_partial", "freeze_all", "unfreeze_all"
STRATEGY, K_LAYERS, RATE, BACKBONE, WEIGHTS = "strategy", "k_layers", "learning_rate", "backbone", "weights"
IN_RANGE, STAGES = "rate_in_range", "unfrozen_stages"  # columns made here


@dataclass(frozen=True, slots=True)
class _Checked:
    study: str
    text: str
    epochs: int | None
    comparison: GroupComparison
    verdict: str = ""  # the p value decides, unless it is given
    last: int | None = None  # epoch, of a study whose effects at the end are known


def check_finetuning_claims(studies: Mapping[str, StudyData], epochs: int | None = None) -> pd.DataFrame:
    """One row per published claim and study that it is about: ``study`` and the columns of ``check_claims``.

    Only studies that varied what a claim is about are asked. The claim about convergence compares all pretrained with
    all scratch trials of the studies within the same number of epochs; its effect is a number of epochs. ``epochs``:
    the budget of the other claims, by default the epochs that all trials of a study trained for. If the effects at the
    last epoch of a study are known, the columns ``late`` to ``sign`` of ``check_claims`` have them; that of convergence
    is about whole trainings, and has none.

    >>> len(check_finetuning_claims({"digits": study}))  # no fine-tuning
    0
    """
    checked = [
        found
        for name, study in studies.items()
        for check in (_check_rates, _check_stages)
        if (found := check(name, study, epochs)) is not None
    ]
    converged = _check_convergence(studies)
    checked += [converged] if converged else []
    p_values = holm([each.comparison.effect.p for each in checked])
    tests = tests_among(each.comparison for each in checked)
    rows = [_row(each, p, tests) for each, p in zip(checked, p_values, strict=True)]
    late = LATE_COLUMNS if any(each.last is not None for each in checked) else []
    types = {name: "Int64" for name in ("epochs", "late_epochs") if name in (*COLUMNS, *late)}
    return pd.DataFrame(rows, columns=["study", *COLUMNS, *late]).astype(types)


def _row(checked: _Checked, p: float, tests: int) -> dict[str, Any]:
    comparison = checked.comparison
    effect = comparison.effect
    verdict = checked.verdict or verdict_of(effect.value, p)
    late = {} if checked.last is None else late_row(comparison, checked.last)
    return late | {
        "study": checked.study, "claim": checked.text, "verdict": verdict,
        "effect": effect.value, "low": effect.low, "high": effect.high, "p_holm": p, "plain": comparison.plain,
        "trials": comparison.trials, "rival_trials": comparison.rival_trials, "epochs": checked.epochs,
        "detectable": detectable_of(verdict, effect, tests), "note": comparison.note,
    }  # fmt: skip


def _sample(study: StudyData, epochs: int | None, needed: tuple[str, ...]) -> Sample | None:
    if not set(needed) <= set(study.trials):
        return None
    try:
        return sample_at(study, epochs)
    except NothingToCompareError:
        return None


def _check_rates(name: str, study: StudyData, epochs: int | None) -> _Checked | None:
    """Whether trials of freeze_partial with a rate in RATES are better than its other trials."""
    sample = _sample(study, epochs, (STRATEGY, RATE))
    if sample is None:
        return None
    trials = sample.trials[sample.trials[STRATEGY].eq(PARTIAL)]
    rate = pd.to_numeric(trials[RATE], errors="coerce")
    low, high = RATES
    inside = rate.ge(low * (1 - 1e-9)) & rate.le(high * (1 + 1e-9))
    if inside.all() or not inside.any():
        return None
    derived = _derived(sample, trials.assign(**{IN_RANGE: inside}), IN_RANGE, (RATE, STRATEGY))
    claim = Claim(RATE_CLAIM, (Condition(IN_RANGE, ("True",)),), ">", (Condition(IN_RANGE, ("False",)),))
    strata = late_strata(study, sample.epochs)
    return _Checked(
        name, RATE_CLAIM, sample.epochs, compare_groups(claim, derived, strata), last=_last_epoch(study, strata)
    )


def _check_stages(name: str, study: StudyData, epochs: int | None) -> _Checked | None:
    """Whether freeze_partial with 2 or 3 stages is better than each smaller and each larger number of stages."""
    sample = _sample(study, epochs, (STRATEGY, K_LAYERS))
    if sample is None:
        return None
    stages = sample.trials.apply(lambda trial: _stages(trial[STRATEGY], trial[K_LAYERS]), axis=1)
    trials = sample.trials[stages.ne("")].assign(**{STAGES: stages[stages.ne("")]})
    if not {"2-3"} < set(trials[STAGES]):
        return None
    derived, strata = _derived(sample, trials, STAGES, (STRATEGY, K_LAYERS)), late_strata(study, sample.epochs)
    try:
        comparison = compare_groups(Claim(STAGES_CLAIM, (Condition(STAGES, ("2-3",)),), "best"), derived, strata)
    except ClaimError as error:
        return _Checked(name, STAGES_CLAIM, None, _untestable(str(error)), NOT_TESTABLE)
    return _Checked(name, STAGES_CLAIM, sample.epochs, comparison, last=_last_epoch(study, strata))


def _last_epoch(study: StudyData, strata: Strata | None) -> int | None:
    return None if strata is None else longest_trial(study)


def _stages(strategy: Any, k_layers: Any) -> str:
    """How many stages before the head a trial trains, as a class of the claim; "" for other strategies."""
    if strategy in (FROZEN, WHOLE):
        return {FROZEN: "none", WHOLE: "all"}[strategy]
    if strategy != PARTIAL or pd.isna(k_layers):
        return ""
    return "1" if k_layers < 2 else "2-3" if k_layers <= 3 else "4 or more"


def _derived(sample: Sample, trials: pd.DataFrame, column: str, replaced: tuple[str, ...]) -> Sample:
    """The sample of some trials, with a new hyperparameter in the place of those that it is made of."""
    others = [name for name in varying_parameters(trials, sample.parameters) if name not in replaced]
    return replace(sample, trials=trials, parameters=[*others, column])


def _untestable(note: str) -> GroupComparison:
    return GroupComparison(UNKNOWN_EFFECT, np.nan, 0, 0, note)


def _check_convergence(studies: Mapping[str, StudyData]) -> _Checked | None:
    """Whether pretrained trials converge in fewer epochs than scratch trials, within the same number of epochs."""
    pretrained = {name: study for name, study in studies.items() if _pretrained(study).any()}
    scratch = {name: study for name, study in studies.items() if (~_pretrained(study)).any()}
    if not pretrained or not scratch:
        return None
    names = " and ".join(dict.fromkeys([*pretrained, *scratch]))
    if differences({**pretrained, **scratch}):
        reason = _untestable("the studies have different photos or splits")
        return _Checked(names, CONVERGENCE_CLAIM, None, reason, NOT_TESTABLE)
    epochs = min(longest_trial(study) for study in {**pretrained, **scratch}.values())
    fine = _epochs_needed(pretrained, epochs, pretrained_trials=True)
    slow = _epochs_needed(scratch, epochs, pretrained_trials=False)
    counts = len(fine), len(slow)
    if min(counts) < MIN_VALUES:
        note = f"fewer than {MIN_VALUES} trials in a group"
        return _Checked(names, CONVERGENCE_CLAIM, epochs, GroupComparison(UNKNOWN_EFFECT, np.nan, *counts, note))
    effect = welch_effect(slow, fine)
    note = f"in epochs: {fine.mean():.1f} against {slow.mean():.1f} on average; not adjusted"
    return _Checked(names, CONVERGENCE_CLAIM, epochs, GroupComparison(effect, effect.value, *counts, note))


def _pretrained(study: StudyData) -> pd.Series:
    """Which trials start from published weights."""
    trials = study.trials
    if BACKBONE not in trials:
        return pd.Series(False, trials.index)
    config = study.info.get("config") or {}
    weights = trials[WEIGHTS] if WEIGHTS in trials else pd.Series(config.get(WEIGHTS, "imagenet"), trials.index)
    return trials[BACKBONE].notna() & weights.ne("none")


def _epochs_needed(studies: Mapping[str, StudyData], epochs: int, *, pretrained_trials: bool) -> Array:
    """The epochs to 95 % of what each trial reached within ``epochs``, of the trials that could train for so long."""
    found: list[float] = []
    for study in studies.values():
        try:
            trials = sample_at(study, epochs).trials
        except ValueError:
            continue
        kind = _pretrained(study).reindex(trials.index)
        wanted = trials.loc[kind if pretrained_trials else ~kind, TRIAL_ID]
        within = replace(study, history=study.history[study.history[EPOCH].le(epochs)])
        found += epochs_to_95(within).reindex(wanted).dropna().astype(float).tolist()
    return np.array(found)
