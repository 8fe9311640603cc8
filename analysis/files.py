"""Read files that a stranger may have made: no pipe that never ends, no endless file, no link out of its folder."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

MAX_JSON_BYTES: Final = 200_000_000  # the largest study.json, with a grid of a million configurations, has 150 MB
MAX_TABLE_BYTES: Final = 4_000_000_000  # ten million epochs in history.csv have 1 GB


def check_regular(path: Path, max_bytes: int | None = None, inside: Path | None = None) -> None:
    """Raise OSError if ``path`` is no regular file, is larger than ``max_bytes``, or leads out of ``inside``.

    Opening a named pipe would wait for ever, and a device such as /dev/zero never ends. A link in a folder that
    somebody else made may lead to any file of this user, whose content would then stand in a report.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if max_bytes is not None and status.st_size > max_bytes:
        raise OSError(errno.EINVAL, f"larger than the allowed {max_bytes:,} bytes", str(path))
    if inside is not None and not is_inside(path, inside):
        raise OSError(errno.ELOOP, "a link that leads out of its folder; put the file itself there", str(path))


def is_inside(path: Path, folder: Path) -> bool:
    """Whether ``path``, with all links followed, lies in ``folder``."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def read_bytes(path: Path, max_bytes: int = MAX_TABLE_BYTES, inside: Path | None = None) -> bytes:
    """The content of a file; OSError as in ``check_regular``."""
    check_regular(path, max_bytes, inside)
    return path.read_bytes()


def read_json(path: Path, inside: Path | None = None) -> Any:
    """The value in a JSON file; OSError as in ``check_regular``, ValueError if the file is no JSON."""
    return parse_json(read_bytes(path, MAX_JSON_BYTES, inside))


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError, also for one that is nested so deeply that the parser gives up."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
