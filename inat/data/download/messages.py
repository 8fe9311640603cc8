"""What the download tells the user: bytes as they arrive, and errors of the disk as a sentence."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from inat.errors import DataError

FULL_DISK_ADVICE: Final = "make room or name a folder on another disk with --to"


@contextmanager
def as_data_error(folder: Path) -> Iterator[None]:
    """Turn an OSError (no permission, full disk, a file in the way) into a DataError that names the path."""
    try:
        yield
    except BrokenPipeError:  # not from the disk: the reader of stdout has gone, which inat.cli reports
        raise
    except OSError as error:
        raise DataError(
            f"cannot use {error.filename or folder}: {error.strerror or error}; "
            "remove the cause or name another folder with --to"
        ) from error


@contextmanager
def show_progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with each number of new bytes.

    ``done`` of ``total`` bytes are there at the start. Shows a bar on a terminal, elsewhere a line per 10 %.
    """
    console = Console()
    if console.is_terminal:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(TextColumn("{task.description}"), *columns, console=console) as bar:
            yield partial(bar.advance, bar.add_task(what, total=total, completed=done))
    else:
        yield _print_tenths(what, total, done)


def _print_tenths(what: str, total: int, done: int) -> Callable[[int], None]:
    whole = max(total, 1)  # an archive may contain empty files only

    def advance(count: int) -> None:
        nonlocal done
        tenth, done = 10 * done // whole, done + count
        if 10 * done // whole > tenth:
            print(f"{what} {done / whole:.0%} of {decimal(total)}", flush=True)

    return advance
