"""What the events of a journal must look like; somebody else may have written the journal, or a disk damaged it."""

import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

from inat.constants import BEST_VAL_ACC, EPOCH, TRIAL_ID

TRIAL_ID_PATTERN = re.compile(r"t\d{4,9}")  # names of files and folders are made of it
FIELDS: dict[str, dict[str, type]] = {
    "trial": {"number": int, "params": dict, "created": str},
    "epoch": {"node": str, "row": dict},
    "end": {"state": str, "error": str},
}


def check_event(event: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError for an event that no search has written."""
    if not TRIAL_ID_PATTERN.fullmatch(event[TRIAL_ID]):
        raise ValueError(f"{event[TRIAL_ID]!r} is no id of a trial")
    for name, kind in FIELDS[event["event"]].items():
        if not isinstance(event[name], kind):
            raise ValueError(f"{name} is no {kind.__name__}")
    if event["event"] == "epoch":
        row = event["row"]
        if type(row[EPOCH]) is not int or not isinstance(row[BEST_VAL_ACC], Real):
            raise ValueError("an epoch without a number or a result")
