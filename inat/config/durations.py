"""Durations as a user writes them, such as "90s", "30m", "2h" or "1.5d"."""

import math
import re
from typing import Any

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(duration: str | None) -> float | None:
    """Seconds in a duration such as "90s", "30m", "2h" or "1.5d"; None for None."""
    if duration is None:
        return None
    match = DURATION.fullmatch(duration.strip())
    assert match is not None, "SearchConfig has checked it"
    return float(match[1]) * SECONDS[match[2]]


def as_option(seconds: float) -> str:
    """A duration to type that is no shorter than ``seconds``: whole seconds up to three minutes, then whole minutes.

    >>> as_option(41.2), as_option(1099)
    ('42s', '19m')
    """
    return f"{math.ceil(seconds)}s" if seconds <= 180 else f"{math.ceil(seconds / 60)}m"


def duration_errors(config: Any, name: str) -> list[str]:
    """A message if the field ``name`` is neither None nor a duration above zero."""
    value = getattr(config, name)
    if value is None or (DURATION.fullmatch(value.strip()) and seconds_of(value)):
        return []
    return [f"{name} must be a number and a unit such as 90s, 30m, 2h or 1d, got {value!r}"]
