"""Decode all photographs of a folder, on all cores, into the directories of its stores."""

import errno
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
    track,
)

from inat.constants import ASPECTS_NPY, IMAGES_NPY, LABELS_NPY, MANIFEST_JSON, NAMES_JSON, SKIPPED_CSV
from inat.data.decode import read_image, resize, unreadable_reason
from inat.data.image_folder import ImageFiles
from inat.errors import DataError
from inat.study.atomic_io import csv_lines

FORMAT = 3  # raise when the same photographs would give other bytes
AT_ONCE = 16  # photographs a thread decodes before it wakes the main one, which then competes for the interpreter
# What an OSError about one file may say; Pillow's own have no number.
OF_THE_FILE = (None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
BUILDING = ".building"  # ending of a directory that is not complete


def build_stores(photos: ImageFiles, targets: Mapping[int, Path]) -> None:
    """Make the stores ``targets`` (size in px -> directory) in one pass over the photographs, replacing what is there.

    Each appears as a whole or not at all. The caller holds their lock.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    console.print(_announcement(photos, targets), soft_wrap=True)
    building = {size: directory.with_name(directory.name + BUILDING) for size, directory in targets.items()}
    try:
        for directory in building.values():
            shutil.rmtree(directory, ignore_errors=True)  # of a process that was killed
            directory.mkdir()
        aspects, skipped = _decode_all(photos, building, console)
        for size, directory in building.items():
            _write_sidecars(photos, size, directory, aspects, skipped)
        for size, directory in building.items():
            shutil.rmtree(targets[size], ignore_errors=True)  # a damaged one
            os.replace(directory, targets[size])
    finally:
        for directory in building.values():
            shutil.rmtree(directory, ignore_errors=True)


def _announcement(photos: ImageFiles, targets: Mapping[int, Path]) -> str:
    """Say how large the stores will be before a byte is written; DataError if the disk is too small for them."""
    count, cache_dir = len(photos.files), next(iter(targets.values())).parent
    needed = sum(count * size * size * 3 for size in targets)
    check_space(cache_dir, needed, "decoding the photos", "pass --cache-dir on a larger disk or a smaller --image-size")
    sizes = " and ".join(f"{size} px" for size in targets)
    return f"decoding {count:,} photos of {photos.root} once, at {sizes}: {decimal(needed)} in {cache_dir}"


def _decode_all(
    photos: ImageFiles, directories: Mapping[int, Path], console: Console
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Write all readable photographs at each size; width / height of each (0: unreadable), and why some are not.

    A thread holds one photograph at a time and writes its rows to the file instead of to mapped memory, so a build
    takes the memory of one photograph a core, whatever their number. Threads, as Pillow releases the interpreter lock
    while it decodes and resizes: processes would decode photographs of 300 x 240 px a fifth faster, and have to be
    started, forked from a process full of threads.
    """
    aspects = np.zeros(len(photos.files), np.float32)
    with ExitStack() as stack:
        files = {s: stack.enter_context(_ImageFile(d / IMAGES_NPY, len(aspects), s)) for s, d in directories.items()}

        def convert(row: int) -> str | None:
            path = os.path.join(photos.root, photos.files[row].path)
            try:
                image = read_image(path)
            except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
                _raise_unless_the_files_own(error, path)
                return unreadable_reason(error, path)
            for size, file in files.items():
                file.write(row, resize(image, size))
            aspects[row] = image.width / image.height
            return None

        def convert_some(rows: range) -> list[str | None]:
            return [convert(row) for row in rows]

        # Pillow warns of odd palettes and EXIF; what it could not read is listed with its reason.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        pool = ThreadPoolExecutor(usable_cores())
        stack.callback(pool.shutdown, cancel_futures=True)  # after Ctrl-C, too
        parts = [range(start, min(start + AT_ONCE, len(aspects))) for start in range(0, len(aspects), AT_ONCE)]
        done = track(pool.map(convert_some, parts), "decoding", len(parts), console=console,
                     transient=True, disable=not console.is_terminal)  # fmt: skip
        reasons = (reason for part in done for reason in part)
        skipped = {path: why for path, why in zip(photos.paths, reasons, strict=True) if why is not None}
    return aspects, skipped


def usable_cores() -> int:
    """Those that this process may use: fewer than the machine has in a container or under taskset."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _raise_unless_the_files_own(error: Exception, path: str) -> None:
    """A fault of the machine must not make a photograph unreadable for ever."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in OF_THE_FILE):
        reason = str(error) or type(error).__name__
        raise DataError(f"cannot decode {path} ({reason}); mend the cause and try again") from error


class _ImageFile:
    """An .npy file of (count, size, size, 3) uint8 whose rows are written in any order by any thread."""

    def __init__(self, path: Path, count: int, size: int) -> None:
        mapped = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
        self._start, self._row_bytes = mapped.offset, size * size * 3
        del mapped
        self._handle = os.open(path, os.O_WRONLY)

    def write(self, row: int, image: NDArray[np.uint8]) -> None:
        """Put ``image`` (size, size, 3) into its row; OSError if the disk is full, where mapped memory would crash."""
        data, place = image.reshape(-1).data, self._start + row * self._row_bytes
        written = os.pwrite(self._handle, data, place)
        if written < len(data):
            os.pwrite(self._handle, data[written:], place + written)

    def __enter__(self) -> "_ImageFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            os.fsync(self._handle)  # a power cut must not leave a published store with holes
        os.close(self._handle)


def _write_sidecars(
    photos: ImageFiles, size: int, directory: Path, aspects: NDArray[np.float32], skipped: Mapping[str, str]
) -> None:
    np.save(directory / LABELS_NPY, np.array(photos.labels, np.int64))
    np.save(directory / ASPECTS_NPY, aspects)
    (directory / NAMES_JSON).write_text(json.dumps(photos.paths))
    _write_skipped(directory / SKIPPED_CSV, skipped)
    manifest = {"format": FORMAT, "folder": str(photos.root), "size": size, "photos": len(photos.files),
                "skipped": len(skipped), "classes": photos.classes}  # fmt: skip
    (directory / MANIFEST_JSON).write_text(json.dumps(manifest, indent=2))


def _write_skipped(path: Path, skipped: Mapping[str, str]) -> None:
    rows = ({"path": name, "reason": reason} for name, reason in skipped.items())
    text = csv_lines(rows, ("path", "reason"), header=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")  # names need not be UTF-8


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
