"""The arithmetic of a race: which probes fit a time budget, and which trials of the leaders follow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from analysis.markdown import format_duration
from inat.config.backbones import UNFREEZE_ALL
from inat.config.durations import as_option
from inat.errors import ConfigError
from inat.tuning.racing.forecast import most_that_fit
from inat.tuning.racing.probes import Candidate
from inat.tuning.racing.waves import Choice

Item = TypeVar("Item")


def from_small_to_large(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates by predicted seconds; among equals, in their order."""
    return sorted(candidates, key=lambda candidate: candidate.seconds)


def fitting(items: Iterable[tuple[Item, float]], seconds: float) -> tuple[list[Item], float]:
    """The first items whose seconds add up to at most ``seconds``, passing over those too long; and their sum.

    >>> fitting([("a", 2.0), ("b", 9.0), ("c", 3.0)], 6.0)
    (['a', 'c'], 5.0)
    """
    taken, spent = [], 0.0
    for item, cost in items:
        if spent + cost <= seconds:
            taken.append(item)
            spent += cost
    return taken, spent


def choose_probes(candidates: Sequence[Candidate], seconds: float, share: float) -> list[Candidate]:
    """The candidates, from small to large, whose probes fit ``share`` of a budget of ``seconds``.

    Raises ConfigError if not even the first does.
    """
    ordered = from_small_to_large(candidates)
    taken, _ = fitting(((candidate, candidate.seconds) for candidate in ordered), share * seconds)
    if not taken:
        first = ordered[0]
        raise ConfigError(
            f"time_budget {format_duration(seconds)} is too short: features of {first.backbone}, the fastest backbone, "
            f"take about {format_duration(first.seconds)}; give at least {as_option(first.seconds / share)}, "
            "or a smaller --image-size"
        )
    return taken


def choose_partial(
    leaders: Sequence[str], costs: Mapping[str, Mapping[Choice, float]], seconds: float
) -> tuple[list[tuple[str, Choice]], float]:
    """The trials with frozen stages of the leaders that fit ``seconds``, the best leader's first; and their seconds.

    ``costs`` has the seconds of each way to train a leader. The cheapest trial of the best leader is always there: a
    study needs one.
    """
    frozen = [
        ((leader, choice), cost)
        for leader in leaders
        for choice, cost in costs[leader].items()
        if not choice.trains_all
    ]
    if not frozen:
        return [], 0.0
    taken, spent = fitting(frozen, seconds)
    return (taken, spent) if taken else ([frozen[0][0]], frozen[0][1])


def choose_full(
    leaders: Sequence[str], costs: Mapping[str, Mapping[Choice, float]], most: int, seconds: float
) -> tuple[list[str], int]:
    """The leaders whose whole network can train within ``seconds``, and how many of them, at most ``most``.

    Which of them train is decided by earlier trials, so the number is that of the slowest ones.
    """
    whole = {
        leader: cost for leader in leaders for choice, cost in costs[leader].items()
        if choice.strategy == UNFREEZE_ALL and cost <= seconds
    }  # fmt: skip
    return list(whole), most_that_fit(whole.values(), most, seconds)
