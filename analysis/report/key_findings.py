"""The key findings on the first screen of a report: one sentence each, the finding first, then its evidence."""

import pandas as pd

from analysis.claims.check import NOT_TESTABLE
from analysis.comparable import is_accuracy, mask_infinite
from analysis.early_stopping.audit import failures
from analysis.report.budget_results import BudgetResults
from analysis.report.sections.claims import claims_finding, decided_claims
from analysis.schema import BEST_VAL_ACC, FAILED, GRID, RUNNING, STATE
from analysis.stats.importance import describe_r2
from analysis.study import StudyData

CLOSE = 0.005  # of accuracy: the same training differs by at least as much from seed to seed


def key_findings(
    study: StudyData, results: BudgetResults | str, takeaways: pd.DataFrame | str, stopping: list[str]
) -> list[str]:
    """All findings in the order of the page.

    ``results``, ``takeaways``: a text instead of a result means that there is none, and no finding about it.
    ``stopping``: the findings about early stopping.
    """
    important = importance_finding(results) if isinstance(results, BudgetResults) else []
    claims = takeaway_findings(takeaways, study.unit) if isinstance(takeaways, pd.DataFrame) else []
    return [*unfinished_search(study), *close_to_best(study), *important, *claims, *stopping, *failed_trials(study)]


def unfinished_search(study: StudyData) -> list[str]:
    """Whether the search has not finished yet."""
    running = int(study.trials[STATE].eq(RUNNING).sum())
    planned = (study.info.get("config") or {}).get("num_samples")
    missing = planned - len(study.trials) if isinstance(planned, int) and not study.info.get(GRID) else 0
    if not running and missing <= 0:
        return []
    ended = f"{len(study.trials) - running} of {planned}" if missing > 0 else f"{len(study.trials) - running}"
    return [f"The search has not finished ({ended} trials have ended; it is running or was interrupted)."]


def close_to_best(study: StudyData) -> list[str]:
    """How many other trials are within CLOSE of the best; for accuracies only."""
    accuracies = mask_infinite(study.trials.loc[study.trials[STATE].ne(FAILED), BEST_VAL_ACC]).dropna()
    near = int(accuracies.ge(accuracies.max() - CLOSE).sum()) - 1
    if not is_accuracy(study.metric) or near < 1:
        return []
    trials = "1 other trial is" if near == 1 else f"{near} other trials are"
    ties = int(accuracies.eq(accuracies.max()).sum()) - 1
    equal = f", {ties} of them equal; the first of equal trials counts as the best" if ties else ""
    return [f"The best trial may be the best by chance ({trials} within {CLOSE} of its validation accuracy{equal})."]


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
    names = f"{', '.join(certain[:-1])} and {certain[-1]}"
    return [f"{names} matter most (loss of R² when shuffled, 95 % intervals: {intervals}; {evidence})."]


def takeaway_findings(takeaways: pd.DataFrame, unit: str = "epoch") -> list[str]:
    """The verdicts on the published takeaways, unless all of them are about hyperparameters of another space."""
    if takeaways["verdict"].eq(NOT_TESTABLE).all():  # also without any takeaway
        return []
    return [claims_finding(takeaways), *decided_claims(takeaways, unit)]


def failed_trials(study: StudyData) -> list[str]:
    """How many trials failed, and the most frequent reason."""
    table = failures(study)
    if not len(table):
        return []
    count, first = int(table["trials"].sum()), table.iloc[0]
    if count == 1:
        return [f"1 trial failed ({first['reason']})."]
    return [f"{count} trials failed (most frequent reason, {first['trials']} trials: {first['reason']})."]
