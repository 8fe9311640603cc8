"""The plan of a time budget: image size, epochs, rungs and trials of the search, and the last training. Pure."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from analysis.markdown import format_short_duration
from inat.config.durations import as_option
from inat.constants import TIME_PLAN
from inat.errors import ConfigError, StudyError
from inat.tuning.budget import rules
from inat.tuning.expected_epochs import expected_epochs
from inat.tuning.rungs import Rungs

DIVISORS: Final = ("epoch_seconds", "alone_seconds")  # of a plan; other numbers of it may be 0
_LEAST = 1e-4  # seconds of an epoch: study.json keeps no more digits


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a plan is made from, beside the costs.

    ``seconds`` is the whole time budget, of which ``spent`` are over, ``loading`` of them until this process was ready.
    ``slots`` trials run at a time, and the last training has ``cores``. ``images`` counts the training images. ``side``
    is the typical shorter side of the photos in pixels. The last training after a search has ``refit`` times the
    images of a trial.
    """

    seconds: float
    spent: float
    slots: int
    images: int
    side: int
    loading: float = 0.0
    cores: int = 1
    reduction_factor: int = 3
    refit: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeCost:
    """Seconds of the recipe at an image size.

    Of an ``epoch`` in a slot beside other trials, of one ``alone`` with all cores, to ``start`` a trial, to ``decode``
    the photos, and to ``test``. ``operations`` are those of the recipe's network for an image. ``wider`` has the
    filters of the first stage of a wider network, and its operations over those of the recipe.
    """

    image_size: int
    epoch: float
    alone: float
    start: float
    decode: float
    test: float
    operations: int
    wider: tuple[int, float] | None = None

    def of_operations(self, times: float) -> "SizeCost":
        """The cost of a network with so many ``times`` the operations."""
        return dataclasses.replace(
            self, epoch=times * self.epoch, alone=times * self.alone, test=times * self.test,
            operations=round(times * self.operations),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TimePlan:
    """How a time budget is spent; study.json has it as ``time_plan``.

    With one trial there is no search: that trial is the last training. ``start_seconds`` come before the search,
    ``end_seconds`` after the last training, and ``restart_seconds`` between the two, or after --resume. The last
    training uses ``cores``. ``width`` are the filters of the recipe's first stage if a single training is of a wider
    network, else 0.
    """

    seconds: float
    image_size: int
    max_epochs: int
    grace_period: int
    reduction_factor: int
    trials: int
    slots: int
    cores: int
    search_seconds: float
    last_seconds: float
    last_epochs: int
    most_epochs: int
    start_seconds: float
    restart_seconds: float
    end_seconds: float
    epoch_seconds: float
    alone_seconds: float
    operations: int
    width: int = 0

    @property
    def searches(self) -> bool:
        """Whether there is a search before the last training."""
        return self.trials > 1

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        search = self.search_seconds + self.restart_seconds if self.searches else 0.0
        return self.start_seconds + search + self.last_seconds + self.end_seconds

    def to_json(self) -> dict[str, Any]:
        """The plan for study.json."""
        return {n: round(v, 4) if isinstance(v, float) else v for n, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], study: object) -> Self:
        """The plan of a study; StudyError if somebody has changed it."""
        known = values if isinstance(values, Mapping) else {}
        needed = (f for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING or f.name in known)
        kinds = {field.name: field.type for field in needed}  # earlier versions lack what has a default
        fits = all(
            isinstance(known.get(name), int if kind is int else (int, float)) and 0 <= known[name] < math.inf
            for name, kind in kinds.items()
        )
        fits = fits and all(known[name] > 0 for name in DIVISORS)
        if not fits:
            raise StudyError(f"{TIME_PLAN} in study.json of {study} is damaged; restore it from a copy")
        return cls(**{name: values[name] for name in kinds})


def time_decides(info: Mapping[str, Any]) -> bool:
    """Whether the time decides how many trials a study has, whose study.json is ``info``; somebody may have changed it.

    >>> time_decides({"time_plan": {"trials": 15}}), time_decides({"time_plan": {"trials": 1}}), time_decides({})
    (True, False, False)
    """
    plan = info.get(TIME_PLAN)
    trials = plan.get("trials") if isinstance(plan, Mapping) else None
    return isinstance(trials, int) and trials > 1


def make_plan(facts: Facts, costs: Sequence[SizeCost]) -> TimePlan:
    """The plan for ``facts``, with the ``costs`` of the image sizes to choose from, in ascending order.

    Raises ConfigError if not even one epoch fits.
    """
    cost = _largest(facts, costs, search=True)
    return _with_search(facts, cost) or _without_search(facts, _largest(facts, costs, search=False))


def _largest(facts: Facts, costs: Sequence[SizeCost], *, search: bool) -> SizeCost:
    """The largest size not above the photos' own at which the last training has enough epochs, else the smallest."""
    share, enough = rules.LAST_SHARE if search else 1.0, rules.enough_epochs(facts.images)
    sensible = [cost for cost in costs if cost.image_size <= facts.side] or costs[:1]
    fitting = (
        cost
        for cost in reversed(sensible)
        if _epochs(share * _free(facts, cost, search=search), cost, facts.refit if search else 1.0) >= enough
    )
    return next(fitting, sensible[0])


def _free(facts: Facts, cost: SizeCost, *, search: bool) -> float:
    """Seconds for training: those left without the start, decoding, the test and the report."""
    starts = rules.start_seconds(facts.loading) * (2 if search else 1)
    return facts.seconds - facts.spent - starts - cost.decode - cost.test - rules.end_seconds(facts.loading)


def _epochs(seconds: float, cost: SizeCost, refit: float = 1.0) -> int:
    """Epochs of a training that has all cores, and ``refit`` times the images of a trial."""
    return max(0, int((seconds - cost.start) / (rules.SAFETY * refit * max(cost.alone, _LEAST))))


def _with_search(facts: Facts, cost: SizeCost) -> TimePlan | None:
    free, most = _free(facts, cost, search=True), rules.most_epochs(facts.images)
    share = rules.LAST_SHARE * free
    last = min(most, _epochs(share, cost, facts.refit))
    seconds = min(share, cost.start + rules.SPARE * rules.SAFETY * last * facts.refit * cost.alone)
    chosen: tuple[int, int] | None = None
    for part in rules.SEARCH_SHARES:
        epochs = max(rules.FEWEST_SEARCH_EPOCHS, round(part * last))
        trials = _trials(facts, cost, epochs, free - seconds) if epochs <= last else 0
        if trials >= rules.FEWEST_TRIALS and (chosen is None or trials > chosen[1]):
            chosen = epochs, trials
        if trials >= rules.WANTED_TRIALS:
            break
    if chosen is None:
        return None
    return _plan(facts, cost, *chosen, search_seconds=free - seconds, last_seconds=seconds, last_epochs=last)


def _trials(facts: Facts, cost: SizeCost, epochs: int, seconds: float) -> int:
    """How many trials of up to ``epochs`` end within ``seconds``, as many as ASHA can be expected to leave."""
    factor = facts.reduction_factor
    rungs = Rungs(rules.grace_period(epochs, factor), factor, epochs).milestones
    epoch = rules.SAFETY * cost.epoch
    longest, most = epochs * epoch + cost.start, 0
    for trials in range(1, rules.MOST_TRIALS + 1):
        work = trials * cost.start + expected_epochs(trials, rungs, epochs, factor) * epoch
        # Each slot has its share of the work, and the last trial may begin when the others end.
        if longest + max(0.0, work - longest) / facts.slots > seconds:
            break
        most = trials
    return most


def _without_search(facts: Facts, cost: SizeCost) -> TimePlan:
    free = _free(facts, cost, search=False)
    cost, width = _widest(facts, cost, free)
    epochs = min(rules.most_epochs(facts.images), _epochs(free, cost))
    if epochs < 1:
        # What a busy machine needs to start differs from one run to the next.
        least = rules.START_MARGIN * (facts.seconds - free + cost.start + rules.SAFETY * cost.alone)
        given, epoch = format_short_duration(facts.seconds), format_short_duration(cost.alone)
        raise ConfigError(
            f"time_budget {given} is too short: an epoch takes {epoch} on this machine at {cost.image_size} px, "
            f"as far as other programs leave it idle, and start, test and report come on top; "
            f"give at least {as_option(least)}"
        )
    seconds = min(free, cost.start + rules.SPARE * rules.SAFETY * epochs * cost.alone)
    return _plan(facts, cost, epochs, 1, search_seconds=0.0, last_seconds=seconds, last_epochs=epochs, width=width)


def _widest(facts: Facts, cost: SizeCost, seconds: float) -> tuple[SizeCost, int]:
    """Cost and width of the wider network if enough epochs of it fit into ``seconds``; else the cost, and 0."""
    if cost.wider is None:
        return cost, 0
    width, times = cost.wider
    wide = cost.of_operations(times)
    return (wide, width) if _epochs(seconds, wide) >= rules.enough_epochs(facts.images) else (cost, 0)


def _plan(
    facts: Facts,
    cost: SizeCost,
    epochs: int,
    trials: int,
    *,
    search_seconds: float,
    last_seconds: float,
    last_epochs: int,
    width: int = 0,
) -> TimePlan:
    return TimePlan(
        seconds=facts.seconds,
        image_size=cost.image_size,
        max_epochs=epochs,
        grace_period=rules.grace_period(epochs, facts.reduction_factor) if trials > 1 else epochs,
        reduction_factor=facts.reduction_factor,
        trials=trials,
        slots=min(facts.slots, trials),
        cores=facts.cores,
        search_seconds=search_seconds,
        last_seconds=last_seconds,
        last_epochs=last_epochs,
        most_epochs=rules.most_epochs(facts.images),
        start_seconds=facts.spent + rules.start_seconds(facts.loading) + cost.decode,
        restart_seconds=rules.start_seconds(facts.loading),
        end_seconds=rules.end_seconds(facts.loading) + cost.test,
        epoch_seconds=max(cost.epoch, _LEAST),
        alone_seconds=max(cost.alone, _LEAST),
        operations=cost.operations,
        width=width,
    )
