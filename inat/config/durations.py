"""Durations as a user writes them, such as "90s", "30m", "2h" or "1.5d"."""

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


def duration_errors(config: Any, name: str) -> list[str]:
    """A message if the field ``name`` is neither None nor a duration above zero."""
    value = getattr(config, name)
    if value is None or (DURATION.fullmatch(value.strip()) and seconds_of(value)):
        return []
    return [f"{name} must be a number and a unit such as 90s, 30m, 2h or 1d, got {value!r}"]
