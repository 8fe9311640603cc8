"""Files that a crash at any moment leaves readable, and the error for a full disk."""

import errno
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from analysis.escaping import csv_rows
from analysis.files import check_regular, parse_json
from inat.constants import FINAL_DIR, LAST_DIR, STUDY_JSON
from inat.errors import DiskFullError, StudyError

NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota exceeded, file above the size limit
NO_DIRECTORY_SYNC_ERRNOS = (errno.EINVAL, errno.ENOTSUP)  # of file systems that sync no directories, such as SMB
MAX_LINE_BYTES = 100_000_000  # of a JSON-lines file; a longer line is damaged
PROBE_BYTES = 1_000_000  # a disk that cannot take these counts as full


def disk_full_error(directory: Path) -> DiskFullError:
    """Make the error for a directory on a full disk; its message says how to continue, such as --resume STUDY."""
    study = next((folder for folder in (directory, *directory.parents) if (folder / STUDY_JSON).exists()), None)
    if study is None:
        return DiskFullError(f"the disk of {directory} is full; free some space, then run the same command again")
    hint = resume_hint(directory, study)
    return DiskFullError(f"the disk of {study} is full; everything up to here is kept: free some space, then {hint}")


def resume_hint(directory: Path, study: Path) -> str:
    """Say how the user continues the command that writes to ``directory`` in ``study``: a search, or inat.finalize."""
    folders = (directory, *directory.parents)
    if any(folder.name == FINAL_DIR and (folder.parent / STUDY_JSON).exists() for folder in folders):
        return "run the same command again"
    if study.name == LAST_DIR and (study.parent / STUDY_JSON).exists():
        study = study.parent
    return f"go on with --resume {shlex.quote(str(study))}"


@contextmanager
def as_disk_full_error(directory: Path) -> Iterator[None]:
    """Convert the OSError of a full disk into a DiskFullError; pass on any other error."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:
            raise
        raise disk_full_error(directory) from error


@contextmanager
def atomic_replace(path: Path, *, sync: bool = True, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path to write to; afterwards, that file replaces ``path``.

    A reader, also after a crash, finds the old file or the new one, never a part. With ``sync``, which waits for the
    disk (twice 4 ms on an SSD), this also holds after a power cut, and the new file has then replaced the old one.
    Processes that may write the same path at the same time need different values of ``suffix``. Raises DiskFullError if
    the disk is full, even if the writer raised an error that does not say so.
    """
    partial = path.with_name(f".{path.name}{suffix}")
    try:
        with _detect_full_disk(partial):
            partial.unlink(missing_ok=True)  # left by a killed process, or a link that a stranger put into the folder
            yield partial
            if sync:
                _fsync(partial)
            os.replace(partial, path)
            if sync:
                sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def _detect_full_disk(partial: Path) -> Iterator[None]:
    try:
        with as_disk_full_error(partial.parent):
            yield
    except RuntimeError as error:  # torch.save does not say why it could not write
        if _has_space(partial):
            raise
        raise disk_full_error(partial.parent) from error


def _has_space(file: Path) -> bool:
    try:
        with file.open("ab") as opened:
            opened.write(bytes(PROBE_BYTES))
        _fsync(file)  # some file systems check quotas only now
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:
            raise  # a better reason than torch gives, such as a read-only file system
        return False
    return True


def _fsync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk; a new or renamed file is only then safe from a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_DIRECTORY_SYNC_ERRNOS:
            raise
    finally:
        os.close(descriptor)


def atomic_write(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file with ``atomic_replace``; pass ``sync=False`` for files that can be made again."""
    with atomic_replace(path, sync=sync) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def drop_partial_line(path: Path) -> None:
    """Cut off the last line of a file if it has no line break: a killed process has not finished it."""
    with open(path, "rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def mend_hint(journal: Path) -> str:
    """What the user does about a damaged journal."""
    return f"restore it from a copy, or mend the study with: inat study check {journal.parent} --repair"


def read_json_lines(path: Path, growing: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file.

    With ``growing``, for a file that another process is writing, a last line without a line break is left out. Raises
    StudyError, with the line number, for a line that is not a JSON object.
    """
    check_regular(path)
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=1):
            if growing and not line.endswith(b"\n"):
                return
            value = parse_json_object(line)
            if value is None:
                raise StudyError(f"{path} is damaged at line {number}; {mend_hint(path)}")
            yield value


def parse_json_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object in ``text``; None if it is anything else."""
    try:
        value = parse_json(text)
    except ValueError:  # not JSON, not UTF-8, or nested without end
        return None
    return value if isinstance(value, dict) else None


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Iterable[str], header: bool = False) -> str:
    """Format rows as CSV text; keys that are not in ``columns`` are left out, missing keys become empty cells.

    A text that a spreadsheet would run as a formula gets an apostrophe in front; see ``csv_rows``.
    """
    names = list(columns)
    cells = [[row.get(name, "") for name in names] for row in rows]
    return csv_rows([names, *cells] if header else cells)


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Write a CSV file whose cells may be names of files, which need not be UTF-8."""
    with atomic_replace(path) as partial:
        partial.write_text(csv_lines(rows, columns, header=True), encoding="utf-8", errors="surrogateescape")
