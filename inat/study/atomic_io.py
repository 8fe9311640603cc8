"""Writing and reading files so that a crash at any moment leaves something that can be read."""

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from inat.constants import FINAL_DIR, STUDY_JSON
from inat.errors import DiskFullError, StudyError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota used up, file larger than the user may have
PROBE = 1_000_000  # bytes that a disk with room must take


def disk_full_error(place: Path) -> DiskFullError:
    """The error for a directory that takes no more, with the way to go on: for one in a study, its ``--resume``."""
    study = next((folder for folder in (place, *place.parents) if (folder / STUDY_JSON).exists()), None)
    if study is None:
        return DiskFullError(f"the disk of {place} is full; free some space, then run the same command again")
    return DiskFullError(
        f"the disk of {study} is full; everything up to here is kept: free some space, then {resume_hint(place, study)}"
    )


def resume_hint(place: Path, study: Path) -> str:
    """How the user goes on with what writes to ``place``, which lies in ``study``: the search, or inat.finalize."""
    if any(folder.name == FINAL_DIR and (folder.parent / STUDY_JSON).exists() for folder in (place, *place.parents)):
        return "run the same command again"
    return f"go on with --resume {study}"


@contextmanager
def as_disk_full_error(directory: Path) -> Iterator[None]:
    """Turn the system's refusal to write any more into a DiskFullError that says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise disk_full_error(directory) from error


@contextmanager
def atomic_replace(path: Path, *, sync: bool = True, suffix: str = "") -> Iterator[Path]:
    """Gives a path to write to; at the end, that file takes the place of ``path``.

    A reader, or a crash, meets the old file or the new one, never a part. ``sync`` waits for the disk (4 ms on an SSD),
    so that this holds in a power cut too. Processes that may write the same path at a time need a ``suffix`` each.
    DiskFullError if there is no room, by whatever error the writer says so.
    """
    partial = path.with_name(f".{path.name}{suffix}")
    try:
        with _lack_of_room_told(partial):
            yield partial
            if sync:
                _wait_for_disk(partial)
            os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def _lack_of_room_told(partial: Path) -> Iterator[None]:
    try:
        with as_disk_full_error(partial.parent):
            yield
    except RuntimeError as error:  # torch's, which do not say why
        if _can_grow(partial):
            raise
        raise disk_full_error(partial.parent) from error


def _can_grow(file: Path) -> bool:
    try:
        with file.open("ab") as probed:
            probed.write(bytes(PROBE))
        _wait_for_disk(file)  # where quotas are counted late
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise  # says more than torch does: read-only, gone, not permitted
        return False
    return True


def _wait_for_disk(file: Path) -> None:
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def atomic_write(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file as ``atomic_replace`` does; without ``sync`` one that can be made again after a power cut."""
    with atomic_replace(path, sync=sync) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def drop_partial_line(path: Path) -> None:
    """Cut off a last line that a killed process left half-written."""
    with open(path, "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def read_json_lines(path: Path, growing: bool = False) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; StudyError with the line number if one is damaged.

    Where the file is ``growing``, a last line without its end is left out: it is being written.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if growing and not line.endswith(b"\n"):
                return
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
