"""For how many epochs the configurations of a study with a time plan are trained again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.files import read_json
from inat.constants import LAST_DIR, STUDY_JSON, TIME_PLAN
from inat.errors import StudyError
from inat.tuning.budget.plan import TimePlan


def planned_epochs(directory: Path, info: Mapping[str, Any]) -> int | None:
    """The epochs of the last training of the study in ``directory``, or those planned for it; None without a time plan.

    Its best model trains that long; the trials of its search are shorter to leave time for more of them. ``info`` is
    the content of the study's study.json. Raises StudyError if somebody has changed the plan or the last training.
    """
    if TIME_PLAN not in info:
        return None
    plan, last = TimePlan.from_json(info[TIME_PLAN], directory), directory / LAST_DIR
    if not (last / STUDY_JSON).exists():  # too little time was left for it
        return plan.last_epochs
    try:
        epochs = read_json(last / STUDY_JSON, inside=directory)["config"]["max_epochs"]
    except (OSError, ValueError, LookupError, TypeError):
        epochs = None
    if type(epochs) is not int or epochs < 1:
        raise StudyError(f"{last} is damaged; remove it, and --resume of its study trains it again")
    return epochs
