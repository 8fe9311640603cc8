"""What the page of trials shows: the chosen trials with their curves and differences, and a table to choose from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup
from starlette.datastructures import QueryParams

from analysis.comparable import best_first, describe_metric
from analysis.figures.chosen import MAX_CHOSEN, TrialLook, interactive_chosen, looks_of_trials
from analysis.report.page import json_text
from analysis.schema import BEST_VAL_ACC, CREATED, EPOCHS, ERROR, NAME, SECONDS, STATE, STATES, TRIAL_ID
from analysis.side_by_side.trials import best_trials, curve_metrics, differing_parameters, trial_curves
from analysis.study import StudyData
from analysis.wording import counted

CHOSEN_AT_FIRST = 5  # the best ones
MAX_ROWS = 300  # of the table to choose from
ALL = "all"
SORTS = {"best": "best value", "newest": "newest", "epochs": "most epochs", "seconds": "longest", "id": "trial"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the address of the page asks for. ``trials`` is None if it names none: then the best few are chosen."""

    trials: tuple[str, ...] | None = None
    sort: str = "best"
    state: str = ALL
    find: str = ""
    metric: str = ""

    @classmethod
    def of(cls, query: QueryParams) -> "Choice":
        """Read the choice from an address; what it does not know is left out."""
        trials = tuple(dict.fromkeys(filter(None, query.getlist("trial")))) if "trial" in query else None
        sort, state = query.get("sort", ""), query.get("state", "")
        return cls(
            trials, sort if sort in SORTS else "best", state if state in STATES else ALL, query.get("find", "")[:100],
            query.get("metric", ""),
        )  # fmt: skip


def trials_content(study: StudyData, choice: Choice) -> dict[str, Any]:
    """The values of the page's template."""
    known = set(study.trials[TRIAL_ID].astype(str))
    wanted = best_trials(study, CHOSEN_AT_FIRST) if choice.trials is None else choice.trials
    chosen = [trial for trial in wanted if trial in known]
    looks = looks_of_trials(chosen)
    metrics = curve_metrics(study)
    metric = choice.metric if choice.metric in metrics else next(iter(metrics), "")
    plot = chosen_plot(study, list(looks), metric, metrics)
    rows = matching(study, choice)
    shown = set(rows[TRIAL_ID][:MAX_ROWS])
    return {
        "choice": choice, "chosen": set(chosen), "looks": looks, "metrics": metrics, "metric": metric,
        "plots": plot, "drawn": bool(plot), "too_many": len(chosen) > MAX_CHOSEN, "max_chosen": MAX_CHOSEN,
        "gone": [trial for trial in wanted if trial not in known], "sorts": SORTS, "states": (ALL, *STATES),
        "differences": differences(study, looks), "rows": rows.head(MAX_ROWS).to_dict("records"),
        "more": max(len(rows) - MAX_ROWS, 0), "count": len(study.trials),
        "hidden": [trial for trial in chosen if trial not in shown],
        "best_label": describe_metric(study.metric, study.mode), "unit": study.unit,
        "left_out": counted(len(study.read_errors), "row") if len(study.read_errors) else "",
    }  # fmt: skip


def chosen_plot(study: StudyData, chosen: Sequence[str], metric: str, metrics: Mapping[str, str]) -> Markup:
    """The chart of the chosen trials as JSON for the page's script; empty if there is no curve."""
    curves = trial_curves(study, chosen, metric) if metric else pd.DataFrame()
    if not len(curves):
        return Markup()
    figure = json.loads(interactive_chosen(curves, metrics[metric], study.unit).to_json())
    figure["layout"].pop("template", None)  # the page sets its own colours
    return json_text({"chosen": figure})


def differences(study: StudyData, looks: Mapping[str, TrialLook]) -> dict[str, Any]:
    """The chosen trials with the hyperparameters in which they differ, and those in which they are alike."""
    table, alike = differing_parameters(study, list(looks))
    first = (TRIAL_ID, STATE, EPOCHS, BEST_VAL_ACC)
    return {
        "parameters": [name for name in table if name not in first],
        "rows": table.to_dict("records"),
        "alike": alike,
    }


def matching(study: StudyData, choice: Choice) -> pd.DataFrame:
    """The rows of the trials that the choice asks for, in its order."""
    trials = study.trials[[TRIAL_ID, NAME, STATE, BEST_VAL_ACC, EPOCHS, SECONDS, CREATED, ERROR]]
    trials = trials.assign(**{TRIAL_ID: trials[TRIAL_ID].astype(str), NAME: trials[NAME].fillna("").astype(str)})
    if choice.state != ALL:
        trials = trials[trials[STATE].eq(choice.state)]
    if choice.find:
        texts = trials[TRIAL_ID] + " " + trials[NAME]
        trials = trials[texts.str.contains(choice.find, case=False, regex=False)]
    if choice.sort == "best":
        return trials.loc[best_first(study, study.trials.loc[trials.index])]
    column, ascending = {
        "newest": (CREATED, False), "epochs": (EPOCHS, False), "seconds": (SECONDS, False), "id": (TRIAL_ID, True),
    }[choice.sort]  # fmt: skip
    return trials.sort_values(column, ascending=ascending, kind="stable", na_position="last")
