"""When the parts of a study with a time plan must end, from its beginning on or after --resume."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from inat.config.durations import DURATION, seconds_of
from inat.config.search import SearchConfig
from inat.constants import BEST_JSON, FAILED, JOURNAL, LAST_DIR, SECONDS, STUDY_JSON, TIME_PLAN
from inat.errors import StudyError
from inat.study.journal import Journal
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.budget import rules
from inat.tuning.budget.plan import TimePlan
from inat.tuning.stoppers import StopAtLimits

TIME_OVER: Final = "its time is over"


@dataclass(frozen=True, slots=True)
class Clock:
    """The plan of a study, and when all of it has to be over, as ``time.monotonic`` counts."""

    plan: TimePlan
    ends: float

    @classmethod
    def of(cls, study: Study, config: SearchConfig, started: float) -> Self | None:
        """The clock of a study that began at ``started`` or is resumed then; None for a study without a time plan.

        A resumed study has the time that its search and its last training have not used yet, and what the user has
        added to --time-budget for the search.
        """
        if TIME_PLAN not in study.info:
            return None
        plan = TimePlan.from_json(study.info[TIME_PLAN], study.directory)
        if config.resume is None:
            return cls(plan, started + plan.seconds)
        added = max(0.0, (seconds_of(config.time_budget) or plan.seconds) - plan.seconds)
        begun = last_has_begun(study)
        last = trained_seconds(Journal.read(study.directory / LAST_DIR)) if begun else None
        # Images are decoded. Ray starts again, for which the last training has time of its own.
        left = unused_seconds(plan, added, trained_seconds(study), last) + (0.0 if begun else ray_seconds(plan))
        return cls(plan, time.monotonic() + max(0.0, left))

    @property
    def last_ends(self) -> float:
        """When the last training has to be over."""
        return self.ends - self.plan.end_seconds

    @property
    def training_ends(self) -> float:
        """When the last training ends by itself, some time before it has to be over."""
        return self.last_ends - rules.REPORT_SECONDS

    @property
    def search_ends(self) -> float:
        """When the search has to be over; without one, its only trial is the last training."""
        if not self.plan.searches:
            return self.last_ends
        return self.last_ends - self.plan.last_seconds - self.plan.restart_seconds


def unused_seconds(plan: TimePlan, added: float, trained: float, last_trained: float | None) -> float:
    """The seconds of ``plan``, and those ``added`` to its search, that trainings have not used yet.

    ``trained`` and ``last_trained`` are the seconds of all epochs of the search and of the last training; None before
    that has begun.
    """
    used = plan.start_seconds
    if last_trained is not None:
        used += plan.search_seconds + added + last_trained
    else:
        most = plan.search_seconds if plan.searches else plan.last_seconds
        used += min(most + added, trained / max(1, plan.slots))
    return plan.total + added - used


def ray_seconds(plan: TimePlan) -> float:
    """How long Ray is expected to take for its start; plans of earlier versions do not say it without a search."""
    return plan.restart_seconds or min(plan.start_seconds, rules.START_SECONDS)


def last_has_begun(study: Study) -> bool:
    """Whether the search of a study with a time plan is over, as its last training has begun."""
    last = study.directory / LAST_DIR
    return TIME_PLAN in study.info and any((last / name).exists() for name in (STUDY_JSON, JOURNAL))


def is_over(study: Study) -> bool:
    """Whether nothing can be added to a study with a time plan: its last training, or its only one, has begun or ended.

    Without a search, the only trial is the last training; it is over once it has a result.
    """
    if TIME_PLAN not in study.info:
        return False
    plan = TimePlan.from_json(study.info[TIME_PLAN], study.directory)
    return last_has_begun(study) if plan.searches else has_result(study)


def check_not_over(study: Study, config: SearchConfig) -> None:
    """StudyError if ``config`` asks for more of a search that is over: more time or trials, or failed trials again.

    Also if it changes --refit where no last training is to come.
    """
    before = study.info.get("config", {})
    searches = TIME_PLAN in study.info and TimePlan.from_json(study.info[TIME_PLAN], study.directory).searches
    if config.refit != before.get("refit", config.EARLIER_OPTIONS["refit"]) and (not searches or last_has_begun(study)):
        why = "its last training has begun" if searches else "it has no last training"
        raise StudyError(f"--refit {config.refit} cannot change {study.directory}, as {why}; leave out --refit")
    if not is_over(study):
        return
    asked = [
        ("--retry-failed", config.retry_failed),
        (f"--time-budget {config.time_budget}", _exceeds(seconds_of(config.time_budget), _seconds(before))),
        (f"--num-samples {config.num_samples}", _exceeds(config.num_samples, before.get("num_samples"))),
    ]
    if option := next((option for option, more in asked if more), ""):
        over = "search" if last_has_begun(study) else "training"
        why = "its last training has begun" if last_has_begun(study) else "its only training has ended"
        raise StudyError(
            f"the {over} of {study.directory} is over, as {why}, so {option} cannot continue it; "
            f"start a new study, with --start-from {study.directory / BEST_JSON} to try its best configuration first"
        )


def _seconds(settings: Mapping[str, Any]) -> float | None:
    """The time budget in study.json, which somebody may have changed."""
    written = settings.get("time_budget")
    return seconds_of(written) if isinstance(written, str) and DURATION.fullmatch(written.strip()) else None


def _exceeds(asked: float | None, before: Any) -> bool:
    return asked is not None and isinstance(before, int | float) and asked > before


def last_is_left(clock: Clock | None, study: Study) -> bool:
    """Whether a study with a time plan has yet to end its last training."""
    if clock is None or not clock.plan.searches:
        return False
    directory = study.directory / LAST_DIR
    return not (directory / STUDY_JSON).exists() or not has_result(Journal.read(directory))


def has_result(last: Journal) -> bool:
    """Whether a last training has ended other than by failing."""
    return any(trial.state != FAILED for trial in last.ended())


def trained_seconds(journal: Journal) -> float:
    """Seconds of all epochs of all trials."""
    return sum(trial.seconds for trial in journal.trials.values())


def epoch_seconds(trial: Trial) -> float | None:
    """The median of the seconds of a trial's epochs; None before the first one."""
    known = [float(row[SECONDS]) for row in trial.history if row.get(SECONDS)]
    return statistics.median(known) if known else None


class StopAtDeadline(StopAtLimits):
    """Stops at ``ends`` of ``time.monotonic``, and at the target of the search.

    Also once nothing more is started, which ``declined`` says, and nothing is running. With ``late``, a study without
    any result goes on until its first epoch has ended: a model that is late is better than none.
    """

    def __init__(
        self,
        study: Study,
        ends: float,
        target: float | None = None,
        declined: Callable[[], bool] = lambda: False,
        *,
        late: bool = False,
    ) -> None:
        super().__init__(study, None, target)
        self._study, self._at, self._declined, self._late = study, ends, declined, late

    @property
    def deadline(self) -> float | None:
        return self._at

    def stop_all(self) -> bool:
        """See StopAtLimits."""
        if not self.reason and time.monotonic() >= self._at and not (self._late and self._without_result()):
            self.reason = TIME_OVER
        if not self.reason and self._declined() and not self._study.unfinished():
            self.reason = "no further trial with enough epochs would end within the time of the search"
        return bool(self.reason)

    def _without_result(self) -> bool:
        trials = self._study.trials.values()
        return not any(trial.history for trial in trials) and (not trials or bool(self._study.unfinished()))
