"""Digests of the parts of study.json that decide what trials measure, so that an edit does not go unnoticed.

One digest per field: the message about an edit can then name the field. Studies of earlier versions have none.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from inat.config.resume import CHANGEABLE
from inat.config.search import EARLIER_TARGET

DIGESTS = "digests"  # key in study.json
FIELDS = (
    "search", "space", "seed", "start_from", "learned_from", "grid", "weights", "model", "rules", "recipe_params",
    "time_plan", "raised_epochs",
)  # fmt: skip
DATA_FIELDS = ("fingerprint", "classes")  # the images may move


def digests_of(info: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each part of study.json that must not change, by its name, such as "space" or "config.seed".

    >>> sorted(digests_of({"seed": 0, "config": {"max_epochs": 27, "num_samples": 48}}))
    ['config.max_epochs', 'seed']
    """
    return {name: _digest(value) for name, value in _fixed_parts(info)}


def changed_fields(info: Mapping[str, Any]) -> list[str]:
    """The names of the parts that are not as they were when the program wrote study.json."""
    known = info.get(DIGESTS)
    if not isinstance(known, dict):
        return [] if known is None else [DIGESTS]
    now = digests_of(info)
    return sorted(name for name in known.keys() | now.keys() if known.get(name) != now.get(name))


def _fixed_parts(info: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((name, info[name]) for name in FIELDS if name in info)
    for part, names in (("data", DATA_FIELDS), ("config", None)):
        values = info.get(part)
        for name, value in values.items() if isinstance(values, dict) else ():
            if name in names if names is not None else name not in (*CHANGEABLE, EARLIER_TARGET):
                yield f"{part}.{name}", value


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
