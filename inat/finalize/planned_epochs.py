"""For how many epochs the configurations of a study with a time plan are trained again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.files import read_json
from inat.constants import COMPLETED, LAST_DIR, LAST_OF, PLANNED_EPOCHS, STUDY_JSON, TIME_PLAN
from inat.errors import StudyError
from inat.study.journal import Journal
from inat.tuning.budget.plan import TimePlan
from inat.tuning.equal_cost import compares_at_equal_cost


def planned_epochs(directory: Path, info: Mapping[str, Any]) -> int | None:
    """The epochs of the last training of the study in ``directory``, or those planned for it; None without a time plan.

    In a study that compares trials at equal cost, these are epochs of the recipe. Its best model trains that long; the
    trials of its search are shorter to leave time for more of them. ``info`` is the content of the study's study.json.
    Raises StudyError if somebody has changed the plan or the last training.
    """
    if TIME_PLAN not in info:
        return None
    plan, last = TimePlan.from_json(info[TIME_PLAN], directory), directory / LAST_DIR
    if not plan.searches:
        return _trained(directory) or plan.last_epochs
    if not (last / STUDY_JSON).exists():  # too little time was left for it
        return plan.last_epochs
    try:
        content = read_json(last / STUDY_JSON, inside=directory)
        epochs = content.get(PLANNED_EPOCHS, content["config"]["max_epochs"])
        repeated = content.get(LAST_OF)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        epochs = repeated = None
    if type(epochs) is not int or epochs < 1:
        raise StudyError(f"{last} is damaged; remove it, and --resume of its study trains it again")
    trained = _trained(last) or epochs
    return max(1, round(trained * _epoch_cost(directory, repeated))) if compares_at_equal_cost(info) else trained


def _epoch_cost(directory: Path, trial_id: object) -> float:
    trial = Journal.read(directory).trials.get(trial_id) if isinstance(trial_id, str) else None
    return 1.0 if trial is None else trial.epoch_cost


def _trained(directory: Path) -> int:
    """The epochs of the training in ``directory`` that went on until its end; 0 without one."""
    return max((trial.epochs for trial in Journal.read(directory).ended() if trial.state == COMPLETED), default=0)
