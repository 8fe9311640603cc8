"""Decode all images of a folder, on all cores, into image stores of one or several sizes."""

import errno
import json
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.filesize import decimal
from rich.progress import track

from analysis.terminal import PlainConsole
from inat.constants import (
    ASPECTS_NPY,
    IMAGES_NPY,
    LABELS_NPY,
    MANIFEST_JSON,
    NAMES_JSON,
    SKIPPED_CSV,
    THUMBNAILS_NPY,
)
from inat.data.decode import IMAGES_PER_TASK, Resize, read_image, unreadable_reason
from inat.data.disk import check_space
from inat.data.image_files import ImageFiles
from inat.data.store import publish
from inat.data.thumbnails import SIDE, thumbnail
from inat.errors import DataError
from inat.machine import usable_cores
from inat.study.atomic_io import write_table

FORMAT = 3  # increase it when the same files would give other bytes
# Codes of an OSError that concerns one file only; Pillow's own OSErrors have no code.
FILE_ERROR_CODES = (None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)


def build_stores(files: ImageFiles, targets: Mapping[Resize, Path]) -> None:
    """Build the stores ``targets`` (form of the images -> directory) in one pass over the files, replacing old ones.

    Each store is complete or absent. The caller holds the lock of the stores.
    """
    console = PlainConsole(stderr=True)
    console.print(_announcement(files, targets))
    with publish(targets.values()) as building:
        directories = {form: building[target] for form, target in targets.items()}
        aspects, skipped = _decode_all(files, directories, console)
        for form, directory in directories.items():
            _write_sidecars(files, form.size, directory, aspects, skipped)


def _announcement(files: ImageFiles, targets: Mapping[Resize, Path]) -> str:
    """A sentence with the size of the stores, before a byte is written; DataError if the disk is too small for them."""
    count, cache_dir = len(files.files), next(iter(targets.values())).parent
    needed = sum(count * form.size**2 * 3 for form in targets)
    check_space(cache_dir, needed, "decoding the photos", "pass --cache-dir on a larger disk or a smaller --image-size")
    sizes = " and ".join(f"{form.size} px" for form in targets)
    return f"decoding {count:,} photos of {files.root} once, at {sizes}: {decimal(needed)} in {cache_dir}"


def _decode_all(
    files: ImageFiles, directories: Mapping[Resize, Path], console: PlainConsole
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """Write all readable images at each size.

    Returns width / height of each image, 0 for unreadable ones, and the reason for each path that is unreadable.

    A thread holds one image at a time, and writes its rows to the file instead of to a memory map. So the memory needed
    is that of one image per core, for any number of images. Threads suffice because Pillow releases the interpreter
    lock while it decodes and resizes: processes would decode images of 300 x 240 px 20 % faster, but would have to be
    forked from a process full of threads.
    """
    aspects = np.zeros(len(files.files), np.float32)
    with ExitStack() as stack:
        arrays = {
            form: stack.enter_context(_ArrayFile(directory / IMAGES_NPY, len(aspects), form.size))
            for form, directory in directories.items()
        }
        thumbnails = [stack.enter_context(_ArrayFile(d / THUMBNAILS_NPY, len(aspects), SIDE))
                      for d in directories.values()]  # fmt: skip
        read = reader_of(files)

        def convert(row: int) -> str | None:
            path = os.path.join(files.root, files.files[row].path)
            try:
                image = read(row)
            except Exception as error:  # Pillow's plugins raise almost any exception for a broken file
                _raise_unless_file_is_bad(error, path)
                return unreadable_reason(error, path)
            for form, array in arrays.items():
                array.write(row, form(image))
            small = thumbnail(image)
            for array in thumbnails:
                array.write(row, small)
            aspects[row] = image.width / image.height
            return None

        def convert_rows(rows: range) -> list[str | None]:
            return [convert(row) for row in rows]

        # Pillow warns about unusual palettes and EXIF data; what it cannot read is listed with the reason.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        pool = ThreadPoolExecutor(usable_cores())
        stack.callback(pool.shutdown, cancel_futures=True)  # also after Ctrl-C
        starts = range(0, len(aspects), IMAGES_PER_TASK)
        tasks = [range(start, min(start + IMAGES_PER_TASK, len(aspects))) for start in starts]
        done = track(pool.map(convert_rows, tasks), "decoding", len(tasks), console=console,
                     transient=True, disable=not console.is_terminal)  # fmt: skip
        reasons = (reason for task in done for reason in task)
        skipped = {path: reason for path, reason in zip(files.paths, reasons, strict=True) if reason is not None}
    return aspects, skipped


def reader_of(files: ImageFiles) -> Callable[[int], Image.Image]:
    """A function that reads image ``i`` of ``files``, upright and in mode RGB, or raises what Pillow raises."""
    if not files.source:
        return lambda row: read_image(os.path.join(files.root, files.files[row].path))
    from inat.data.torchvision_data import reader

    return reader(files)


def _raise_unless_file_is_bad(error: Exception, path: str) -> None:
    """A failure of the node must not mark a good image as unreadable for good."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in FILE_ERROR_CODES):
        reason = str(error) or type(error).__name__
        raise DataError(f"cannot decode {path} ({reason}); remove the cause and try again") from error


class _ArrayFile:
    """An .npy file (count, size, size, 3) uint8 whose rows are written in any order by any thread."""

    def __init__(self, path: Path, count: int, size: int) -> None:
        mapped = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
        self._start, self._row_bytes = mapped.offset, size * size * 3
        del mapped
        self._handle = os.open(path, os.O_WRONLY)

    def write(self, row: int, image: NDArray[np.uint8]) -> None:
        """Write ``image`` (size, size, 3) to its row; OSError if the disk is full, where a memory map would crash."""
        data, offset = image.reshape(-1).data, self._start + row * self._row_bytes
        written = os.pwrite(self._handle, data, offset)
        if written < len(data):
            os.pwrite(self._handle, data[written:], offset + written)

    def __enter__(self) -> "_ArrayFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            os.fsync(self._handle)  # after a power cut a published store must have no holes
        os.close(self._handle)


def _write_sidecars(
    files: ImageFiles, size: int, directory: Path, aspects: NDArray[np.float32], skipped: Mapping[str, str]
) -> None:
    np.save(directory / LABELS_NPY, np.array(files.labels, np.int64))
    np.save(directory / ASPECTS_NPY, aspects)
    (directory / NAMES_JSON).write_text(json.dumps(files.paths))
    rows = ({"path": name, "reason": reason} for name, reason in skipped.items())
    write_table(directory / SKIPPED_CSV, rows, ("path", "reason"))
    manifest = {
        "format": FORMAT, "folder": str(files.root), "size": size, "photos": len(files.files),
        "skipped": len(skipped), "classes": files.classes, "source": files.source, "complete": files.complete,
    }  # fmt: skip
    (directory / MANIFEST_JSON).write_text(json.dumps(manifest, indent=2))
