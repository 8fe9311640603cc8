"""What the first screen of a report says in sentences, each with what it rests on."""

import pandas as pd

from analysis.claims.check import NOT_TESTABLE
from analysis.comparable import finite, outcome_name
from analysis.early_stopping.audit import failures, missed_summary, savings
from analysis.report.sections.claims_and_audit import tally
from analysis.report.shared import Findings
from analysis.schema import BEST_VAL_ACC, FAILED, GRID, RUNNING, STATE
from analysis.stats.importance import CANNOT_SAY
from analysis.study import Study

CLOSE = 0.005  # of accuracy: as much as the same training differs from seed to seed, or more


def sentences(study: Study, found: Findings | str, checked: pd.DataFrame | str) -> list[str]:
    """All that there is to say; where something could not be computed, nothing is said of it."""
    mattered = mattered_most(found) if isinstance(found, Findings) else []
    claimed = claims_told(checked) if isinstance(checked, pd.DataFrame) else []
    return [*unfinished(study), *close_to_best(study), *mattered, *claimed, *saved(study), *failed(study)]


def unfinished(study: Study) -> list[str]:
    """That the search is not at its end, if it is not."""
    running = int(study.trials[STATE].eq(RUNNING).sum())
    wanted = (study.info.get("config") or {}).get("num_samples")
    missing = wanted - len(study.trials) if isinstance(wanted, int) and not study.info.get(GRID) else 0
    if not running and missing <= 0:
        return []
    ended = f"{len(study.trials) - running} of {wanted}" if missing > 0 else f"{len(study.trials) - running}"
    return [f"The search is not at its end: {ended} trials have ended; it is running or was interrupted."]


def close_to_best(study: Study) -> list[str]:
    """How many others were as good as the best, give or take CLOSE; of accuracies only."""
    accuracies = finite(study.trials.loc[study.trials[STATE].ne(FAILED), BEST_VAL_ACC]).dropna()
    near = int(accuracies.ge(accuracies.max() - CLOSE).sum()) - 1
    if outcome_name(study.metric) != "accuracy" or near < 1:
        return []
    trials = "1 other trial" if near == 1 else f"{near} other trials"
    ties = int(accuracies.eq(accuracies.max()).sum()) - 1
    equal = f", {ties} of them just as high (of equal ones the first counts as the best)" if ties else ""
    return [
        f"{trials} came within {CLOSE} of the best validation accuracy{equal}; which is best may be a matter of luck."
    ]


def mattered_most(found: Findings) -> list[str]:
    """The hyperparameters whose permutation importance is surely above 0, and how good the forest is."""
    if found.verdict.startswith(CANNOT_SAY):
        return [f"Which hyperparameters mattered: {found.verdict}."]
    table = found.importance[found.importance["method"].eq("permutation")].set_index("parameter")
    sure = [name for name in found.top if table.at[name, "low"] > 0]
    named = [f"{name} ({table.at[name, 'low']:.2f} to {table.at[name, 'high']:.2f})" for name in sure]
    what = f"Mattered most, in R² lost without them: {', '.join(named)}" if sure else "Nothing surely mattered"
    return [f"{what}; {found.verdict}; {found.sample.budget}."]


def claims_told(checked: pd.DataFrame) -> list[str]:
    """How the ten takeaways came out, unless they are about other hyperparameters."""
    if checked["verdict"].eq(NOT_TESTABLE).all():
        return []
    return [f"Of the ten takeaways published for nature_12K: {tally(checked)}."]


def saved(study: Study) -> list[str]:
    """Epochs that early stopping saved, against two ways to go on, and winners it may have missed."""
    table, missed = savings(study), missed_summary(study).iloc[0]
    last, usual = table.iloc[0], table.iloc[1]
    if not last["stopped"]:
        return []
    text = (
        f"{last['epochs_spent']:,.0f} epochs were trained. Had the {last['stopped']} stopped trials gone on to epoch "
        f"{last['epochs_a_trial']:.0f}, it would have been {last['epochs_spent'] + last['epochs_saved']:,.0f}"
    )
    if usual["epochs_saved"] == usual["epochs_saved"]:
        text += f"; or for as long as completed ones did, {usual['epochs_spent'] + usual['epochs_saved']:,.0f}"
    if missed["expected"] == missed["expected"]:
        text += f". {winners(missed['expected'], missed['high'])}"
    return [f"{text}."]


def winners(expected: float, high: float) -> str:
    """What completed trials say of stopped ones."""
    if expected < 0.05:
        return f"No sign of a stopped winner, though up to {high:.0f} cannot be ruled out"
    return f"About {expected:.1f} stopped trials would have beaten the best one; up to {high:.0f} cannot be ruled out"


def failed(study: Study) -> list[str]:
    """How many trials failed, and the most frequent reason."""
    table = failures(study)
    if not len(table):
        return []
    count, first = int(table["trials"].sum()), table.iloc[0]
    if count == 1:
        return [f"1 trial failed with: {first['reason']}"]
    return [f"{count} trials failed, {first['trials']} of them with: {first['reason']}"]
