"""Free disk space, and the system's refusal to write to the cache as a sentence for the user."""

import shutil
from pathlib import Path

from rich.filesize import decimal

from inat.errors import CacheFullError, DataError
from inat.study.atomic_io import NO_SPACE_ERRNOS


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk of ``folder``, which need not exist yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free


def check_space(folder: Path, needed: int, purpose: str, advice: str) -> None:
    """Raise DataError if fewer than ``needed`` bytes are free on the disk of ``folder``."""
    free = free_bytes(folder)
    if free < needed:
        raise DataError(
            f"the disk of {folder} has {decimal(free)} free and {purpose} needs {decimal(needed)}; {advice}"
        )


def cache_write_error(cache_dir: Path, error: OSError) -> DataError:
    """The error to raise if the system does not let this process write to the cache; CacheFullError for a full disk."""
    if error.errno in NO_SPACE_ERRNOS:
        return CacheFullError(f"the disk of {cache_dir} is full; free some space, or pass --cache-dir on a larger disk")
    return DataError(f"cannot write to {cache_dir} ({error.strerror}); choose another --cache-dir")
