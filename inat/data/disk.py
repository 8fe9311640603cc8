"""What every step that writes gigabytes shares: room checked first, progress shown, refusals of the system told."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from inat.errors import DataError

OTHER_DISK = "make room or name a folder on another disk with --to"


def free_bytes(folder: Path) -> int:
    """How much is free where ``folder`` is, or will be."""
    return shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free


def check_space(folder: Path, need: int, purpose: str, advice: str) -> None:
    """Raise DataError if less than ``need`` bytes are free where ``folder`` is."""
    free = free_bytes(folder)
    if free < need:
        raise DataError(f"the disk of {folder} has {decimal(free)} free and {purpose} needs {decimal(need)}; {advice}")


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn a permission that is missing, a full disk or a file in the way into a DataError that names the place."""
    try:
        yield
    except BrokenPipeError:  # not the disk: the reader of our output went away, of which inat.cli tells
        raise
    except OSError as error:
        raise DataError(
            f"cannot use {error.filename or place}: {error.strerror or error}; "
            "remove the cause or name another folder with --to"
        ) from error


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Gives a function to call with every count of new bytes: a bar on a terminal, elsewhere a line for each tenth."""
    console = Console()
    if console.is_terminal:
        speed = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(TextColumn("{task.description}"), *speed, console=console) as bar:
            yield partial(bar.advance, bar.add_task(what, total=total, completed=done))
    else:
        yield _lines(what, total, done)


def _lines(what: str, total: int, done: int) -> Callable[[int], None]:
    whole = max(total, 1)  # an archive may hold nothing but empty files

    def advance(count: int) -> None:
        nonlocal done
        tenth, done = 10 * done // whole, done + count
        if 10 * done // whole > tenth:
            print(f"{what} {done / whole:.0%} of {decimal(total)}", flush=True)

    return advance
