"""The section about a time budget: the plan beside what happened, and the last training beside the search's best."""

from pathlib import Path

import pandas as pd

from analysis.costs.time_plan import compared_sizes, last_beside_best, last_training, plan_table, time_plan_of
from analysis.markdown import format_short_duration
from analysis.report.document import Item, Section, Table, section
from analysis.schema import BEST_VAL_ACC, EPOCHS, LAST_OF, RECIPE_EPOCH, REFIT, RUNNING, SECONDS, STATE, TRIAL_ID
from analysis.side_by_side.evaluations import is_refit, read_best_json
from analysis.study import StudyData
from analysis.study_noise import compare_last
from analysis.wording import counted

EQUAL_COST = (
    "Trials are compared at equal cost. A recipe epoch is what one epoch of the recipe costs: a network with twice the "
    "operations trains for half the epochs."
)
NO_LAST = "The last training has no result yet."


def time_plan_section(study: StudyData, path: Path) -> list[Section]:
    """How the time budget was spent; no section for a study without a plan."""
    if not time_plan_of(study.info):
        return []
    return [section("plan", "Time budget", lambda: _items(study, path))]


def _items(study: StudyData, path: Path) -> list[Item]:
    try:
        last, problem = last_training(path, study), ""
    except ValueError as error:
        last, problem = None, f"The last training is not shown: {error}."
    plan = [Table("plan", "Plan and what happened", plan_table(study, last)), *_sizes(study)]
    if last is None:
        return [problem or NO_LAST, *plan] if time_plan_of(study.info).get("trials", 0) > 1 else plan
    table = last_beside_best(path, study, last)
    cost = [EQUAL_COST] if study.step == RECIPE_EPOCH else []
    return [
        _refit_finding(study, table, str(last.info.get(LAST_OF)), is_refit(read_best_json(path)))
        if last.info.get(REFIT) is True and len(table) == 2
        else last_finding(study, table),
        *cost,
        Table("last_training", "The last training beside the search's best", _with_durations(table)),
        *plan,
    ]


def _with_durations(table: pd.DataFrame) -> pd.DataFrame:
    times = [format_short_duration(value) if pd.notna(value) else "-" for value in table[SECONDS]]
    return table.assign(**{SECONDS: times}).rename(columns={SECONDS: "time"})


def _sizes(study: StudyData) -> list[Item]:
    table = compared_sizes(study.info)
    title = "The recipe at each image size, before the search"
    return [Table("compared_sizes", title, table)] if len(table) else []


def _refit_finding(study: StudyData, table: pd.DataFrame, repeated: str, used: bool) -> str:
    last = table.iloc[1]
    epochs = f" for {counted(last[EPOCHS], study.unit)}" if pd.notna(last[EPOCHS]) else ""
    text = f"The last training repeats {repeated}{epochs} on the training and validation photos together."
    if last[STATE] == RUNNING:
        return f"{text} It has not ended."
    if not used:
        return f"{text} It is not the result of the study: best.ckpt is of the search."
    tested = "Only the test photos measure it" if pd.notna(last.get("test_accuracy")) else "Nothing has measured it yet"
    own = study.trials.loc[study.trials[TRIAL_ID].eq(repeated), BEST_VAL_ACC]
    value = f"; {float(own.iloc[0]):.4f} is the validation result of the search" if own.notna().any() else ""
    return f"{text} {tested}{value}."


def last_finding(study: StudyData, table: pd.DataFrame) -> str:
    """What the last training gained over the search's best, at how many epochs each."""
    if len(table) < 2:
        return NO_LAST
    best, last = table.iloc[0], table.iloc[1]
    gain = study.sign * (float(last["result"]) - float(best["result"]))
    epochs = [counted(row[EPOCHS], study.unit) if pd.notna(row[EPOCHS]) else f"an unknown number of {study.unit}s"
              for row in (best, last)]  # fmt: skip
    compared = compare_last(study, float(last["result"]), str(best[TRIAL_ID]))
    noise = ""
    if compared is not None and compared.untold and gain:
        noise = f" The noise of {counted(compared.images, 'validation photo')} may explain the difference."
    better = f"{gain:.4f} better" if gain > 0 else f"{-gain:.4f} worse" if gain < 0 else "as good"
    than = "as" if gain == 0 else "than"
    return (
        f"The last training is {better} {than} the search's best ({float(last['result']):.4f} after {epochs[1]}, "
        f"{last[STATE]}, against {float(best['result']):.4f} after {epochs[0]}).{noise}"
    )
