"""Make room for new features: remove those that no running trial reads, the least recently used first."""

import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from inat.constants import FEATURES_NPY
from inat.data.lease import nobody_reads
from inat.data.store import BUILDING, lock_path

RESERVE_BYTES = 2e9  # of the disk, for checkpoints and whatever else is written there; at most RESERVE_SHARE of it
RESERVE_SHARE = 0.05
PATTERN = "features-*px"  # the directories of features in a cache


@dataclass(frozen=True, slots=True)
class _Stored:
    directory: Path
    bytes: int
    used: float


def reserve_bytes(folder: Path) -> int:
    """Bytes of the disk of ``folder`` that features must leave free."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return int(min(RESERVE_BYTES, RESERVE_SHARE * shutil.disk_usage(place).total))


def make_room(cache_dir: Path, needed: int, free: int, most: float = 0.0, keep: Collection[Path] = ()) -> bool:
    """Make room for ``needed`` bytes of features in a cache; False, and nothing is removed, if that is impossible.

    ``free`` bytes are free on its disk, of which a reserve stays free. All features together may have ``most`` bytes,
    0 for as many as the disk holds. The directories in ``keep`` stay, and so does what a process reads or builds.
    """
    stored = _stored(cache_dir)
    excess = needed + reserve_bytes(cache_dir) - free
    if most:
        excess = max(excess, int(sum(store.bytes for store in stored) + needed - most))
    if excess <= 0:
        return True
    removable = [store for store in stored if store.directory not in keep and _is_unused(store.directory)]
    if sum(store.bytes for store in removable) < excess:
        return False
    for store in sorted(removable, key=lambda store: store.used):
        if excess <= 0:
            break
        if _remove(store.directory):
            excess -= store.bytes
    return excess <= 0


def _stored(cache_dir: Path) -> list[_Stored]:
    found = []
    for directory in cache_dir.glob(PATTERN):
        with suppress(OSError):  # removed meanwhile
            size = sum(file.stat().st_size for file in directory.iterdir())
            found.append(_Stored(directory, size, directory.stat().st_mtime))
    return found


def _is_unused(directory: Path) -> bool:
    with nobody_reads(directory / FEATURES_NPY) as unused:
        return unused


def _remove(directory: Path) -> bool:
    """Remove a store; False if somebody reads or builds it now, or if the system refuses."""
    try:
        with FileLock(lock_path(directory), timeout=0), nobody_reads(directory / FEATURES_NPY) as unused:
            if unused:
                # Renamed first: a crash then leaves an unfinished store, not one that looks complete.
                shutil.rmtree(directory.rename(directory.with_name(directory.name + BUILDING)))
            return unused
    except (OSError, Timeout):
        return False
