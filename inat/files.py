"""Writing and reading files so that a crash at any moment leaves something that can be read."""

import csv
import errno
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inat.errors import DiskFullError, StudyError


def disk_full(directory: Path) -> DiskFullError:
    """The error for a study in ``directory`` that cannot be written any more."""
    return DiskFullError(
        f"the disk of {directory} is full; everything up to here is kept: free some space, then go on with "
        f"--resume {directory}"
    )


@contextmanager
def disk_full_told(directory: Path) -> Iterator[None]:
    """Turn the system's refusal to write any more into a DiskFullError that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise disk_full(directory) from error


def atomic_write(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, meets the old text or the new one, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left half-written."""
    with open(path, "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; StudyError with the line number if one is damaged."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except ValueError as error:  # no JSON, or no text
                raise StudyError(f"{path} is damaged at line {number}; restore it from a copy") from error
            if not isinstance(value, dict):
                raise StudyError(f"{path} is damaged at line {number}; restore it from a copy")
            yield value


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Iterable[str], header: bool = False) -> str:
    """Rows as CSV text; what is not in ``columns`` is left out, what a row lacks is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
