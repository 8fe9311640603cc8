"""What takes seconds to find out about a model of timm, kept in the cache for the next command.

One line of JSON per fact, in a file that belongs to the versions of timm and torch. Damaged lines count as missing.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

from analysis.files import parse_json, read_bytes
from inat.constants import CACHE_DIR
from inat.data.private_folder import check_trusted, create_private
from inat.errors import DataError

Fact = TypeVar("Fact")
FORMAT: Final = 1  # increase it when stages are cut in another way
STAGES, PARAMETERS = "stages", "parameters"  # kinds of facts
MAX_BYTES = 20_000_000
FOLDER = CACHE_DIR


def stages_of_timm(name: str, compute: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """The names of the stages of a backbone, from the cache or else from ``compute``."""
    return tuple(_fact(name, STAGES, lambda: list(compute()), _is_names))


def parameters_of_timm(name: str, compute: Callable[[], int | None]) -> int | None:
    """The number of parameters of a model with its published classes; None if ``compute`` cannot count them."""
    return _fact(name, PARAMETERS, compute, lambda value: type(value) is int and value > 0)


def _fact(name: str, kind: str, compute: Callable[[], Fact], is_valid: Callable[[Any], bool]) -> Fact:
    path = FOLDER / f"timm-{version('timm')}-torch-{version('torch')}-{FORMAT}.jsonl"
    for line in _lines(path):
        with suppress(ValueError, TypeError, KeyError):
            values = parse_json(line)
            if values["name"] == name and is_valid(values[kind]):
                known: Fact = values[kind]
                return known
    found = compute()
    if is_valid(found):
        with suppress(OSError, DataError):  # a cache that cannot be written makes commands slow, no more
            create_private(FOLDER)
            with path.open("ab") as file:
                file.write(("\n" + json.dumps({"name": name, kind: found}) + "\n").encode())  # one write, a whole line
    return found


def _lines(path: Path) -> list[bytes]:
    with suppress(OSError, DataError):
        check_trusted(path.parent)
        return read_bytes(path, MAX_BYTES).splitlines()
    return []


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(name, str) for name in value)
