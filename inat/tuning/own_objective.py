"""A user's own objective, which a search calls instead of a training, and what study.json records of it."""

import math
import numbers
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from inat.config.objective import OBJECTIVES
from inat.constants import EPOCH, OWN_OBJECTIVE
from inat.errors import StudyError


def as_trainable(function: Callable[[dict[str, Any]], Any], metric: str) -> Callable[[dict[str, Any]], None]:
    """``function`` as Tune calls it: see ``report_values``. It is pickled for the workers."""
    return partial(report_values, function=function, metric=metric)


def report_values(params: dict[str, Any], *, function: Callable[[dict[str, Any]], Any], metric: str) -> None:
    """Call ``function`` with the parameters of a trial, and report its values of ``metric`` to Tune.

    It returns one number, or yields one per epoch; with None, it has reported to Tune by itself. To stop a trial, Tune
    raises SystemExit inside the report: ``finally`` in a generator then cleans up.

    Raises TypeError and ValueError for anything but a finite number.
    """
    objective, returned, best = OBJECTIVES[metric], function(params), None
    if returned is None:
        return
    values = returned if isinstance(returned, Generator) else (value for value in [returned])
    with closing(values):  # now, and not when the traceback is gone
        for epoch, value in enumerate(values, start=1):
            number = _checked(value)
            best = number if best is None or objective.reaches(number, best) else best
            tune.report({EPOCH: epoch, objective.column: number, objective.best_column: best})


def _checked(value: Any) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"the objective gave {value!r:.60}; return a number, or yield one per epoch")
    if not math.isfinite(value):
        raise ValueError(f"the objective gave {value}; return a finite number")
    return float(value)


def name_of(objective: Any) -> str:
    """The name of the function behind the result of ``as_trainable``; "" for the training of a network."""
    if not isinstance(objective, partial) or objective.func is not report_values:
        return ""
    function = objective.keywords["function"]
    return str(getattr(function, "__name__", type(function).__name__))


def check_objective(directory: Path, info: Mapping[str, Any], name: str) -> None:
    """Raise StudyError unless a study with this ``info`` was begun with an objective of this ``name``, "" for none."""
    known = info.get(OWN_OBJECTIVE, "")
    if known and not name:
        raise StudyError(
            f"{directory} is a study of the Python function {known}, which trains its trials; continue it with "
            f"inat.open_study({str(directory)!r}).resume(objective={known})"
        )
    if known and name != known:
        raise StudyError(
            f"{directory} began with the function {known}, not with the objective {name}; pass {known}, or start a new "
            "study"
        )
    if name and not known:
        raise StudyError(
            f"{directory} trains the networks of this program, not with the objective {name}; leave it out, or start a "
            "new study"
        )
