"""The plan of a search with a time budget beside what happened, and its last training beside the search's best."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.budgets import epochs_of, longest_trial
from analysis.comparable import best_first, mask_infinite
from analysis.costs.progress import best_over_time
from analysis.files import is_inside
from analysis.markdown import format_short_duration
from analysis.readers.equal_cost import at_equal_cost, epoch_costs
from analysis.recipe import recipe_trial
from analysis.schema import (
    BEST_VAL_ACC,
    COMPARED_SIZES,
    EPOCH_COST,
    EPOCHS,
    FAILED,
    LAST_DIR,
    LAST_OF,
    RECIPE_EPOCH,
    REFIT,
    SECONDS,
    STATE,
    TIME_PLAN,
    TRIAL_ID,
    TRIALS_CSV,
)
from analysis.side_by_side.evaluations import is_trained_last, read_best_json, tested
from analysis.stats.shares import share_interval
from analysis.study import StudyData, load_study
from analysis.wording import counted

LARGEST = 1e15  # of a number in a plan; a larger one is damaged


class Entry(NamedTuple):
    """What a number of the plan means, and the noun that it counts; seconds are shown as a duration."""

    label: str
    unit: str


ENTRIES: Mapping[str, Entry] = {
    "seconds": Entry("time budget", SECONDS),
    "image_size": Entry("image size", "px"),
    "width": Entry("wider network, in its first stage", "filter"),
    "trials": Entry("trials", "trial"),
    "slots": Entry("trials at a time", "trial"),
    "cores": Entry("cores of the last training", "core"),
    "max_epochs": Entry("longest trial of the search", "epoch"),
    "grace_period": Entry("first comparison by ASHA after", "epoch"),
    "reduction_factor": Entry("ASHA keeps one of", "trial"),
    "start_seconds": Entry("start", SECONDS),
    "search_seconds": Entry("search", SECONDS),
    "restart_seconds": Entry("start of the last training", SECONDS),
    "last_epochs": Entry("last training", "epoch"),
    "last_seconds": Entry("time of the last training", SECONDS),
    "end_seconds": Entry("test and report", SECONDS),
    "epoch_seconds": Entry("epoch of the recipe beside other trials", SECONDS),
    "alone_seconds": Entry("epoch of the recipe alone", SECONDS),
}


# Settings that --resume cannot change.
AS_PLANNED = ("image_size", "width", "grace_period", "reduction_factor")
OF_A_SEARCH = (
    "slots",
    "max_epochs",
    "grace_period",
    "reduction_factor",
    "search_seconds",
    "restart_seconds",
    "epoch_seconds",
)


def time_plan_of(info: Mapping[str, Any]) -> dict[str, float]:
    """The known numbers of the plan in study.json; empty for a study without one."""
    recorded = info.get(TIME_PLAN)
    plan = recorded if isinstance(recorded, Mapping) else {}
    return {name: float(plan[name]) for name in ENTRIES if _is_number(plan.get(name))}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST


def plan_table(study: StudyData, last: StudyData | None = None) -> pd.DataFrame:
    """One row per known number of the plan: its meaning, what was planned, and what happened where that is known.

    ``last``: the study of the last training.
    """
    plan = {name: value for name, value in time_plan_of(study.info).items() if value > 0}  # 0 s: not part of the plan
    alone = plan.get("trials") == 1  # then there is no search, and the trial is the last training
    happened = _happened(study, study if alone else last)
    entries = dict(ENTRIES)
    if "width" in plan:
        entries["alone_seconds"] = Entry("epoch of this network alone", SECONDS)
    rows = [
        (entry.label, _words(plan[name], entry.unit), _happened_as(name, happened))
        for name, entry in entries.items()
        if name in plan and not (alone and name in OF_A_SEARCH)
    ]
    return pd.DataFrame(rows, columns=["part", "planned", "happened"])


def _happened_as(name: str, happened: Mapping[str, float]) -> str:
    return "as planned" if name in AS_PLANNED else _words(happened.get(name, math.nan), ENTRIES[name].unit)


def _words(value: float, unit: str) -> str:
    if value != value:
        return "-"
    if unit == SECONDS:
        return format_short_duration(value)
    return f"{value:,.0f} px" if unit == "px" else counted(value, unit)


def _happened(study: StudyData, last: StudyData | None) -> dict[str, float]:
    found: dict[str, float] = {"trials": float(len(study.trials)), "max_epochs": float(longest_trial(study))}
    try:
        progress = best_over_time(study)
        found["search_seconds"] = float(progress.steps[SECONDS].iloc[-1]) if progress.wall else math.nan
    except ValueError:
        pass
    recipe = recipe_trial(study)
    if recipe is not None and pd.notna(recipe[EPOCHS]) and recipe[EPOCHS] > 0:
        found["epoch_seconds"] = float(recipe[SECONDS]) / float(recipe[EPOCHS])
    if last is not None and len(last.trials):
        found["last_epochs"] = float(epochs_of(last.trials).max())
        found["last_seconds"] = float(last.trials[SECONDS].sum(min_count=1))
    return found


def compared_sizes(info: Mapping[str, Any]) -> pd.DataFrame:
    """One row per image size at which the recipe was trained before the plan: result, time, and whether it was chosen.

    Empty if none were compared.
    """
    plan = info.get(TIME_PLAN)
    plan = plan if isinstance(plan, Mapping) else {}
    recorded = plan.get(COMPARED_SIZES)
    names = ("image_size", "value", "seconds")
    rows = [
        (int(row["image_size"]), float(row["value"]), format_short_duration(float(row["seconds"])),
         "yes" if row["image_size"] == plan.get("image_size") else "no")
        for row in (recorded if isinstance(recorded, list) else [])
        if isinstance(row, Mapping) and all(_is_number(row.get(name)) for name in names)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["image_size", "result", "time", "chosen"])


def last_training(path: Path, study: StudyData | None = None) -> StudyData | None:
    """The study of the last training in the study directory ``path``; None without one.

    Its epochs are in the unit of ``study``, that of the directory. Raises ValueError if it cannot be read.
    """
    folder = path / LAST_DIR
    if not (folder / TRIALS_CSV).is_file() or not is_inside(folder, path):
        return None
    try:
        last = load_study(folder)
    except OSError as error:
        raise ValueError(f"{LAST_DIR} cannot be read ({error.strerror or error})") from error
    return last if study is None or study.step != RECIPE_EPOCH else _in_recipe_epochs(last, study)


def _in_recipe_epochs(last: StudyData, study: StudyData) -> StudyData:
    """The last training in epochs of the recipe, at the cost of the trial of ``study`` that it repeats."""
    cost = epoch_costs(study.trials).get(str(last.info.get(LAST_OF)), 1.0)
    trials, history = at_equal_cost(last.trials.assign(**{EPOCH_COST: cost}), last.history, last.mode)
    return replace(last, trials=trials, history=history, step=RECIPE_EPOCH)


def last_beside_best(path: Path, study: StudyData, last: StudyData) -> pd.DataFrame:
    """The best trial of the search and that of the last training: epochs, seconds, results and test accuracy.

    A last training on the validation photos, too, has no result.
    """
    best_json = read_best_json(path)
    chosen = is_trained_last(best_json)  # whose weights are best.ckpt; only those are tested
    parts = (("best of the search", study, not chosen), ("last training", last, chosen))
    rows = [row for name, own, named in parts if (row := _best_row(name, own, best_json if named else {})) is not None]
    columns = ["training", TRIAL_ID, STATE, EPOCHS, SECONDS, "result", "test_accuracy", "test_low", "test_high"]
    table = pd.DataFrame(rows, columns=columns)
    if last.info.get(REFIT) is True:
        table.loc[table["training"].eq("last training"), "result"] = math.nan
    return table if table["test_accuracy"].notna().any() else table.drop(columns=columns[-3:])


def _best_row(name: str, study: StudyData, best_json: dict[str, Any]) -> tuple[Any, ...] | None:
    trials = study.trials[mask_infinite(study.trials[BEST_VAL_ACC]).notna() & study.trials[STATE].ne(FAILED)]
    if not len(trials):
        return None
    best = trials.loc[best_first(study, trials)[0]]
    tested_here = is_trained_last(best_json) or best_json.get(TRIAL_ID) == best[TRIAL_ID]
    accuracy, images = tested(best_json) if tested_here else (None, 0)
    test = (math.nan,) * 3 if accuracy is None else (accuracy, *share_interval(accuracy, images))
    return name, best[TRIAL_ID], best[STATE], best[EPOCHS], best[SECONDS], best[BEST_VAL_ACC], *test
