"""How long the search of a study on the disk has run, without its pauses, and when its time budget ends."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis.costs.breaks import without_breaks
from inat.config.durations import DURATION, seconds_of
from inat.constants import JOURNAL, LAST_DIR, LAST_OF, PREPARATION, SECONDS, STUDY_JSON, TIME_PLAN
from inat.errors import StudyError
from inat.study.activity import changed
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.study.trial import Trial
from inat.tuning.budget.clock import ray_seconds, trained_seconds, unused_seconds
from inat.tuning.budget.plan import TimePlan

# study.json is written before the first trial, whose time of creation has whole seconds, and again by --resume.
WRITTEN_BEFORE = 2.0


@dataclass(frozen=True, slots=True)
class Budget:
    """A time budget in ``seconds``, and when it ends, in seconds since 1970; ``whole``: it is of the whole command."""

    seconds: float
    ends: float
    whole: bool = True


def seconds_gone(directory: Path, trials: Iterable[Trial], running: bool) -> float | None:
    """Seconds in which the search of ``directory`` ran; None before its first trial.

    Those since the first trial began, for a study that is neither resumed nor a copy. Otherwise nothing says when the
    search paused, and the seconds of its epochs count, as in the report (``analysis.costs.progress``).
    """
    trials = list(trials)
    try:
        first = min(moment(trial.created) for trial in trials)
        ends, moved = trained_until(trials, first)
    except ValueError:  # no trial, or somebody has changed the times
        return None
    now, written, line = time.time(), changed(directory / STUDY_JSON), changed(directory / JOURNAL)
    if written <= first + WRITTEN_BEFORE:
        return max(0.0, (now if running else line) - first - (ends - moved))
    return moved + (max(0.0, now - max(written, line)) if running else 0.0)


def trained_until(trials: Iterable[Trial], first: float) -> tuple[float, float]:
    """When the last training so far ended, in seconds since ``first``: with, and without breaks between trainings."""
    starts, ends = [0.0], [0.0]
    for trial in trials:
        at = moment(trial.created) - first
        for row in list(trial.history):
            starts.append(at)
            at += float(row.get(PREPARATION) or 0) + float(row.get(SECONDS) or 0)
            ends.append(at)
    return max(ends), float(without_breaks(np.array(starts), np.array(ends)).max())


def moment(created: str) -> float:
    """A time in ISO format in seconds since 1970; ValueError if it is none."""
    return datetime.fromisoformat(created).timestamp()


def budget_of(directory: Path, info: Mapping[str, Any], trials: Iterable[Trial]) -> Budget | None:
    """The time budget of a study that runs; None without one. Of a last training, the part until it has to be over.

    Where a search was resumed, its end follows from the seconds of its epochs, as in ``inat.tuning.budget.clock``.
    """
    try:
        if directory.absolute().name == LAST_DIR and LAST_OF in info:
            whole = directory.absolute().parent
            above = read_info(whole)
            budget = _planned(whole, above, list(Journal.read(whole).trials.values()))
            return None if budget is None else _until_last_ends(budget, TimePlan.from_json(above[TIME_PLAN], whole))
        return _planned(directory, info, list(trials)) or _asked(directory, info, list(trials))
    except (StudyError, ValueError, KeyError, TypeError):  # damaged; a study without a budget is shown as well
        return None


def _until_last_ends(budget: Budget, plan: TimePlan) -> Budget:
    return Budget(budget.seconds, budget.ends - plan.end_seconds, whole=False)


def _asked(directory: Path, info: Mapping[str, Any], trials: list[Trial]) -> Budget | None:
    """The budget of a search that only ends after this time, from its beginning or from --resume."""
    seconds = _seconds(info)
    if seconds is None or not trials:
        return None
    first, written = moment(trials[0].created), changed(directory / STUDY_JSON)
    resumed = written > first + WRITTEN_BEFORE
    return Budget(seconds, (written if resumed else first) + seconds, whole=not resumed)


def _planned(directory: Path, info: Mapping[str, Any], trials: list[Trial]) -> Budget | None:
    if TIME_PLAN not in info:
        return None
    plan = TimePlan.from_json(info[TIME_PLAN], directory)
    ray = ray_seconds(plan)
    written = changed(directory / STUDY_JSON)
    if not trials or written <= moment(trials[0].created) + WRITTEN_BEFORE:
        before = plan.start_seconds - ray  # measuring and decoding, before study.json
        return Budget(plan.seconds, moment(info["created"]) - before + plan.seconds)
    added = max(0.0, (_seconds(info) or plan.seconds) - plan.seconds)
    last = directory / LAST_DIR
    begun = (last / STUDY_JSON).exists()
    line = changed(last / JOURNAL if begun else directory / JOURNAL)
    last_trained = trained_seconds(Journal.read(last)) if begun else None
    left = unused_seconds(plan, added, sum(trial.seconds for trial in trials), last_trained)
    again = 0.0 if begun or line > written else ray  # Ray starts again; it has started once there is a line
    again -= plan.restart_seconds if begun and line > written else 0.0
    return Budget(plan.seconds + added, max(written, line) + max(0.0, left + again))


def _seconds(info: Mapping[str, Any]) -> float | None:
    asked = info["config"].get("time_budget")
    return seconds_of(asked) if isinstance(asked, str) and DURATION.fullmatch(asked.strip()) else None
