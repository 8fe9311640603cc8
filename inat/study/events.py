"""What the events of a journal must look like; somebody else may have written the journal, or a disk damaged it."""

import math
import re
from collections.abc import Mapping
from typing import Any

from analysis.rungs import LEAST_EPOCH_COST, MOST_EPOCH_COST
from inat.config.objective import Objective
from inat.constants import (
    EPOCH,
    EPOCH_COST,
    FINISHED,
    FOLD,
    FOLD_BEST,
    FOLDS_DONE,
    HISTORY_COLUMNS,
    MICRO_BATCH,
    NOTE,
    PREPARATION,
    RUNNING,
    SECONDS,
    STATES,
    STOPPED,
    TRAINABLE,
    TRIAL_ID,
    WOULD_STOP,
)

TRIAL_ID_PATTERN = re.compile(r"t[0-9]{4,9}")  # names of files and folders are made of it
FIELDS: dict[str, dict[str, type]] = {
    "trial": {"number": int, "params": dict, "created": str},
    "epoch": {"node": str, "row": dict},
    "end": {"state": str, "error": str},
    "retry": {"attempt": int, "created": str},
    "raised": {"epoch": int, "max_epochs": int, "state": str},
}
TEXTS = (FINISHED, NOTE)  # columns of a row
NUMBERS = (
    *HISTORY_COLUMNS[1:],
    MICRO_BATCH,
    PREPARATION,
    TRAINABLE,
    WOULD_STOP,
)  # and columns that are None or a number
NEEDED = (EPOCH, SECONDS)  # columns that are never None
FOLD_COLUMNS = (FOLD, FOLD_BEST, FOLDS_DONE)  # a row has all of them, or none
MAX_INT = 2**63 - 1  # larger ones are no number of a search, and become no float and no cell of a table


class UnfitEventError(ValueError):
    """An event that no search has written, or that contradicts the events before it; users see its line instead."""


def check_event(event: Mapping[str, Any], objective: Objective) -> None:
    """Raise ValueError, KeyError or TypeError for an event that no search with ``objective`` has written."""
    if not TRIAL_ID_PATTERN.fullmatch(event[TRIAL_ID]):
        raise UnfitEventError(f"{event[TRIAL_ID]!r} is no id of a trial")
    for name, kind in FIELDS[event["event"]].items():
        if not isinstance(event[name], kind) or isinstance(event[name], bool):
            raise UnfitEventError(f"{name} is {event[name]!r}")
    if event["event"] == "trial":
        _check_trial(event)
    if event["event"] == "end" and (event["state"] not in STATES or event["state"] == RUNNING):
        raise UnfitEventError(f"state is {event['state']!r}")
    if event["event"] == "raised" and event["state"] not in (RUNNING, STOPPED):
        raise UnfitEventError(f"state is {event['state']!r}")
    if event["event"] == "epoch":
        _check_row(event["row"], objective)


def _check_trial(event: Mapping[str, Any]) -> None:
    if event[TRIAL_ID] != trial_id_of(event["number"]):
        raise UnfitEventError(f"{event[TRIAL_ID]} is number {event['number']}")
    for name, value in event["params"].items():
        if not (value is None or isinstance(value, str | bool) or (is_number(value) and math.isfinite(value))):
            raise UnfitEventError(f"{name} is {value!r}")
    cost = event.get(EPOCH_COST, 1.0)
    if not (is_number(cost) and LEAST_EPOCH_COST <= cost <= MOST_EPOCH_COST):
        raise UnfitEventError(f"{EPOCH_COST} is {cost!r}")


def trial_id_of(number: int) -> str:
    """The id of a trial: "t" and its number, in four digits or more."""
    return f"t{number:04d}"


def _check_row(row: Mapping[str, Any], objective: Objective) -> None:
    """A diverged trial has losses that are infinite or NaN; an objective of a user may measure NaN."""
    best_column = objective.best_column
    numbers, needed = (*NUMBERS, best_column), (*NEEDED, best_column)
    for name, value in {**row, EPOCH: row[EPOCH], best_column: row[best_column]}.items():
        text = isinstance(value, str) and name not in numbers
        if not (text or (is_number(value) and name not in TEXTS) or (value is None and name not in needed)):
            raise UnfitEventError(f"{name} is {value!r}")
    if any(name in row for name in FOLD_COLUMNS) and not all(is_number(row.get(name)) for name in FOLD_COLUMNS):
        raise UnfitEventError(f"fold is {[row.get(name) for name in FOLD_COLUMNS]!r}")
    impossible = objective.mode == "max" and math.isinf(row[best_column])
    if not isinstance(row[EPOCH], int) or row[EPOCH] < 1 or impossible:
        raise UnfitEventError(f"epoch {row[EPOCH]!r} has {row[best_column]!r}")


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number that fits in 64 bits; True is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= MAX_INT
    return isinstance(value, float)
