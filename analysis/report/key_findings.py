"""The key findings on the first screen of a report: one sentence each, the finding first, then its evidence."""

from typing import Any

import pandas as pd

from analysis.claims.check import NOT_TESTABLE
from analysis.class_counts import constant_answer, constant_score, in_32_bit
from analysis.comparable import axis_name, is_accuracy, mask_infinite
from analysis.constant_answer import constant_result, no_better_trials
from analysis.costs.time_plan import last_training
from analysis.early_stopping.audit import failures
from analysis.escaping import printable
from analysis.figures.style import shortened
from analysis.noise import Noise
from analysis.objective import ACCURACY, objective_named
from analysis.report.budget_results import BudgetResults
from analysis.report.headline import best_trial, metric_label
from analysis.report.sections.claims import claims_finding, decided_claims
from analysis.report.validation_gap import validation_gap
from analysis.schema import BEST_VAL_ACC, EPOCHS, FAILED, GRID, RUNNING, STATE, TEST, TIME_PLAN, TRIAL_ID, VAL
from analysis.side_by_side.evaluations import tested
from analysis.stats.importance import describe_r2
from analysis.study import StudyData
from analysis.study_noise import noise_of
from analysis.wording import counted, counted_as, join_words

MAX_NAME = 60  # characters of the name of a class


def key_findings(
    study: StudyData,
    results: BudgetResults | str,
    takeaways: pd.DataFrame | str,
    stopping: list[str],
    best_json: dict[str, Any],
) -> list[str]:
    """All findings in the order of the page.

    ``results``, ``takeaways``: a text instead of a result means that there is none, and no finding about it.
    ``stopping``: the findings about early stopping. ``best_json``: the content of best.json, empty without it.
    """
    important = importance_finding(results) if isinstance(results, BudgetResults) else []
    claims = takeaway_findings(takeaways, study.unit) if isinstance(takeaways, pd.DataFrame) else []
    return [
        *unfinished_search(study), *no_better_than_constant(study, best_json),
        *trials_against_constant(study, best_json), *validation_gap(study, best_json),
        *trials_like_the_best(study, best_json), *important, *claims, *stopping, *failed_trials(study),
    ]  # fmt: skip


def unfinished_search(study: StudyData) -> list[str]:
    """Whether the search has not finished yet."""
    running = int(study.trials[STATE].eq(RUNNING).sum())
    planned = (study.info.get("config") or {}).get("num_samples")
    missing = planned - len(study.trials) if isinstance(planned, int) and not study.info.get(GRID) else 0
    if missing > 0 and _last_training_ended(study):
        missing = 0
    if not running and missing <= 0:
        return []
    ended = f"{len(study.trials) - running} of {planned}" if missing > 0 else f"{len(study.trials) - running}"
    return [f"The search has not finished ({ended} trials have ended; it is running or was interrupted)."]


def _last_training_ended(study: StudyData) -> bool:
    """Whether a time budget is spent: its number of trials was no more than an estimate."""
    if not study.info.get(TIME_PLAN) or study.path is None:
        return False
    try:
        last = last_training(study.path, study)
    except ValueError:  # the section about the time budget says that it cannot be read
        return False
    return last is not None and bool(last.trials[STATE].ne(RUNNING).any())


def no_better_than_constant(study: StudyData, best_json: dict[str, Any]) -> list[str]:
    """Whether the best trial is no better than a constant answer, on validation or on test images."""
    best = best_trial(study, best_json)
    objective = ACCURACY if is_accuracy(study.metric) else objective_named(study.metric)
    if best is None or objective is None:
        return []
    scores = [(objective, objective.label, float(best[BEST_VAL_ACC]), VAL)]
    accuracy, _ = tested(best_json) if best_json.get(TRIAL_ID) == best[TRIAL_ID] else (None, 0)
    if accuracy is not None:
        scores.append((ACCURACY, "test accuracy", accuracy, TEST))
    constants = [constant_score(study.info, of.column, split) for of, _, _, split in scores]
    failed = [
        f"{label} {value:.4f} against {constant:.4f}"
        for (of, label, value, _), constant in zip(scores, constants, strict=True)
        if constant is not None and not of.better(in_32_bit(value), in_32_bit(constant))
    ]
    return [f"The best trial is no better than {constant_words(study)} ({'; '.join(failed)})."] if failed else []


def constant_words(study: StudyData) -> str:
    """The constant answer in words, with the name of its class if that is recorded."""
    answer = constant_answer(study.info)
    return f"always answering {printable(shortened(answer, MAX_NAME))}" if answer else "a constant answer"


def trials_against_constant(study: StudyData, best_json: dict[str, Any]) -> list[str]:
    """How far the best trial is above a constant answer, and how many trials are no better than that."""
    best, counts, constant = best_trial(study, best_json), no_better_trials(study), constant_result(study)
    if best is None or counts is None:
        return []
    value, (worse, trials) = float(best[BEST_VAL_ACC]), counts
    label = metric_label(study.metric)
    margin = study.sign * (value - constant)
    answer = constant_words(study)
    share = f"{worse} of {counted(trials, 'trial')} {'is' if worse == 1 else 'are'}"
    if margin <= 0:  # which is a finding of its own
        return [f"{share} no better than {answer}."] if trials > 1 else []
    others = (f"; {share} no better" if worse else "; all trials are better") if trials > 1 else ""
    evidence = f"{label} {value:.4f} against {constant:.4f}{others}"
    return [f"The best trial is {margin:.4f} better than {answer} ({evidence})."]


def trials_like_the_best(study: StudyData, best_json: dict[str, Any]) -> list[str]:
    """How many other trials cannot be told from the best one."""
    values = study.sign * mask_infinite(study.trials.loc[study.trials[STATE].ne(FAILED), BEST_VAL_ACC]).dropna()
    ties = int(values.eq(values.max()).sum()) - 1
    equal = (
        f"{counted_as(ties, 'other trial', 'have')} the same {axis_name(study.metric)}, and the first of equal trials "
        "counts as the best"
    )
    noise = noise_of(study, best_json, best_trial(study, best_json))
    if noise is not None:
        also = f"; {equal}" if ties > 0 else ""
        finding = "The best trial may be the best by chance"
        if not noise.untold:  # another seed may still rank the trials in another order
            finding = "The lead of the best trial is larger than chance among the validation photos explains"
            also += _with_less_training(study, noise)
        return [f"{finding} ({noise.describe()}{also})."]
    if not is_accuracy(study.metric) or ties < 1:
        return []
    return [f"The best trial may be the best by chance ({equal})."]


def _with_less_training(study: StudyData, noise: Noise) -> str:
    """How many of the compared trials have trained for less than the best one, which is a part of its lead."""
    epochs = study.trials.set_index(TRIAL_ID)[EPOCHS]
    less = int(epochs.reindex(noise.table[TRIAL_ID]).lt(epochs.get(noise.best)).sum())
    return f"; {less} of them trained for fewer {study.unit}s, which is a part of it" if less else ""


def importance_finding(results: BudgetResults) -> list[str]:
    """The hyperparameters whose permutation importance is above 0 beyond its interval."""
    if not results.reliable:
        return [results.ranking]
    table = results.importance[results.importance["method"].eq("permutation")].set_index("parameter")
    certain = [name for name in results.top if table.at[name, "low"] > 0]
    evidence = f"{describe_r2(results.forest)}; {results.sample.budget_text}"
    if not certain:
        return [f"No hyperparameter has an importance that is certainly above 0 ({evidence})."]
    bounds = {name: f"{table.at[name, 'low']:.2f} to {table.at[name, 'high']:.2f}" for name in certain}
    if len(certain) == 1:
        return [
            f"{certain[0]} matters most (loss of R² when shuffled, 95 % interval {bounds[certain[0]]}; {evidence})."
        ]
    intervals = ", ".join(f"{name} {bound}" for name, bound in bounds.items())
    return [f"{join_words(certain)} matter most (loss of R² when shuffled, 95 % intervals: {intervals}; {evidence})."]


def takeaway_findings(takeaways: pd.DataFrame, unit: str = "epoch") -> list[str]:
    """The verdicts on the published takeaways, unless all of them are about hyperparameters of another space."""
    if takeaways["verdict"].eq(NOT_TESTABLE).all():  # also without any takeaway
        return []
    return [claims_finding(takeaways, unit), *decided_claims(takeaways, unit)]


def failed_trials(study: StudyData) -> list[str]:
    """How many trials failed, and the most frequent reason."""
    table = failures(study)
    if not len(table):
        return []
    count, first = int(table["trials"].sum()), table.iloc[0]
    if count == 1:
        return [f"1 trial failed ({first['reason']})."]
    return [f"{count} trials failed (most frequent reason, {first['trials']} trials: {first['reason']})."]
