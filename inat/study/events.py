"""What the events of a journal must look like; somebody else may have written the journal, or a disk damaged it."""

import re
from collections.abc import Mapping
from typing import Any

from inat.config.objective import Objective
from inat.constants import EPOCH, RUNNING, SECONDS, STATES, TRIAL_ID

TRIAL_ID_PATTERN = re.compile(r"t\d{4,9}")  # names of files and folders are made of it
FIELDS: dict[str, dict[str, type]] = {
    "trial": {"number": int, "params": dict, "created": str},
    "epoch": {"node": str, "row": dict},
    "end": {"state": str, "error": str},
    "retry": {"attempt": int, "created": str},
}


class UnfitEventError(ValueError):
    """An event that no search has written, or that contradicts the events before it; users see its line instead."""


def check_event(event: Mapping[str, Any], objective: Objective) -> None:
    """Raise ValueError, KeyError or TypeError for an event that no search with ``objective`` has written."""
    if not TRIAL_ID_PATTERN.fullmatch(event[TRIAL_ID]):
        raise UnfitEventError(f"{event[TRIAL_ID]!r} is no id of a trial")
    for name, kind in FIELDS[event["event"]].items():
        if not isinstance(event[name], kind) or isinstance(event[name], bool):
            raise UnfitEventError(f"{name} is {event[name]!r}")
    if event["event"] == "end" and (event["state"] not in STATES or event["state"] == RUNNING):
        raise UnfitEventError(f"state is {event['state']!r}")
    if event["event"] == "epoch":
        _check_row(event["row"], objective.best_column)


def _check_row(row: Mapping[str, Any], best_column: str) -> None:
    for name, value in {EPOCH: row[EPOCH], best_column: row[best_column], SECONDS: row.get(SECONDS, 0)}.items():
        if isinstance(value, bool) or not isinstance(value, int if name == EPOCH else int | float):
            raise UnfitEventError(f"{name} is {value!r}")
