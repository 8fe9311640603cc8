"""List and clear the decoded photographs, and the features of frozen stages, that searches keep.

    python -m inat.data.cache                          # what there is, for which folder, how large
    python -m inat.data.cache --clear outdated         # unfinished, or of photographs that changed or went
    python -m inat.data.cache --clear NAME [NAME ...]  # by the name in the list
    python -m inat.data.cache --clear all

A running search keeps what it has opened: the system frees the space when its last trial has ended.
"""

import glob
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.filesize import decimal

from inat.cli import run_command
from inat.constants import CACHE_DIR, DIGITS, MANIFEST_JSON
from inat.data.image_folder import list_split
from inat.data.image_store import lock_path, state_name, store_directory
from inat.data.image_store_builder import BUILDING
from inat.errors import ConfigError, DataError, InatError

ALL, OUTDATED = "all", "outdated"
CURRENT, CHANGED, GONE, UNFINISHED = "current", "photos changed", "photos gone", "unfinished"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheCommand:
    """List the decoded photographs and features, or remove some of them."""

    cache_dir: Path = CACHE_DIR
    """Where they are kept, as given to the search."""
    clear: tuple[str, ...] | None = None
    """Names from the list, "outdated" or "all"."""


@dataclass(frozen=True, slots=True)
class CachedStore:
    """One directory of the cache: ``size`` in pixels, ``bad`` photos left out, ``used`` when it was last opened.

    ``features`` says of what network and split they are; "" for decoded photographs.
    """

    directory: Path
    folder: Path
    size: int
    photos: int
    bad: int
    state: str
    bytes: int
    used: datetime
    features: str = ""

    @property
    def name(self) -> str:
        """Its directory's name, which --clear takes."""
        return self.directory.name


def cached_stores(cache_dir: Path) -> list[CachedStore]:
    """What ``cache_dir`` holds, last used first; anything else in it is left out."""
    found = (_read(directory) for directory in _directories(cache_dir))
    return sorted((store for store in found if store), key=lambda store: store.used, reverse=True)


def clear(stores: Sequence[CachedStore]) -> list[CachedStore]:
    """Remove ``stores`` and return those that stay because a search is making them at this moment."""
    busy = []
    for store in stores:
        try:
            with FileLock(lock_path(store.directory), timeout=0):
                _remove(store.directory)
                if not list(store.directory.parent.glob(f"{_stem(store.directory)}-*")):
                    lock_path(store.directory).unlink(missing_ok=True)
        except Timeout:
            busy.append(store)
        except OSError as error:
            raise DataError(f"cannot remove {error.filename or store.directory} ({error.strerror})") from error
    return busy


def _stem(directory: Path) -> str:
    return glob.escape(lock_path(directory).stem)


def _remove(directory: Path) -> None:
    # Renamed first: what a crash leaves is then an unfinished store, not one that looks whole.
    doomed = directory.with_name(directory.name.removesuffix(BUILDING) + BUILDING)
    if doomed != directory:
        shutil.rmtree(doomed, ignore_errors=True)
        directory.rename(doomed)
    shutil.rmtree(doomed)


def choose(stores: Sequence[CachedStore], wanted: Sequence[str]) -> list[CachedStore]:
    """The stores that --clear means; ConfigError for a name that is not there."""
    if not wanted:
        raise ConfigError(f"--clear needs names from the list, {OUTDATED} or {ALL}")
    known = {ALL, OUTDATED, *(store.name for store in stores)}
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"nothing named {unknown[0]!r} to clear; choose from {', '.join(sorted(known))}")
    return [
        store for store in stores
        if ALL in wanted or store.name in wanted or (OUTDATED in wanted and store.state != CURRENT)
    ]  # fmt: skip


def _directories(cache_dir: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in sorted(cache_dir.iterdir()) if entry.is_dir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"cannot read {cache_dir} ({error.strerror}); check --cache-dir") from error


def _read(directory: Path) -> CachedStore | None:
    try:
        size_on_disk = sum(file.stat().st_size for file in directory.iterdir() if file.is_file())
        used = datetime.fromtimestamp(directory.stat().st_mtime)
        if directory.suffix == BUILDING:
            return CachedStore(directory, Path(), 0, 0, 0, UNFINISHED, size_on_disk, used)
        manifest = json.loads((directory / MANIFEST_JSON).read_text())
        folder, size = Path(manifest["folder"]), int(manifest["size"])
        photos, bad = int(manifest["photos"]), int(manifest["skipped"])
        made_of, features = manifest.get("state", state_name(directory)), manifest.get("features", "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not one of ours, or removed meanwhile
    return CachedStore(directory, folder, size, photos, bad, _state(made_of, folder), size_on_disk, used, features)


def _state(made_of: str, folder: Path) -> str:
    """Whether the photographs in ``folder`` are still in the state called ``made_of``."""
    if made_of == DIGITS:
        return CURRENT
    try:
        photos = list_split(folder)
    except (OSError, InatError):
        return GONE
    return CURRENT if state_name(store_directory(photos, 0, Path())) == made_of else CHANGED


def show(command: CacheCommand) -> None:
    """Do what ``command`` says and print what there is, or what was removed."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    cache_dir = command.cache_dir.expanduser().absolute()
    stores = cached_stores(cache_dir)
    if command.clear is not None:
        chosen = choose(stores, command.clear)
        busy = clear(chosen)
        removed = [store for store in chosen if store not in busy]
        console.print(f"removed {len(removed)} of {len(stores)}, {decimal(sum(store.bytes for store in removed))}")
        if busy:
            names = ", ".join(store.name for store in busy)
            raise DataError(f"{names} is being made by a search; clear it when that has ended")
    elif not stores:
        console.print(f"nothing is kept in {cache_dir}")
    else:
        for store in stores:
            console.print(describe(store))
        console.print(f"{decimal(sum(store.bytes for store in stores))} in {cache_dir}")


def describe(store: CachedStore) -> str:
    """Its name on a line of its own, to be copied, and what it is."""
    left_out = f" ({store.bad:,} unreadable)" if store.bad else ""
    of_what = f"features ({store.features}) of " if store.features else ""
    what = f"{of_what}{store.photos:,} photos{left_out} of {store.folder} at {store.size} px, " if store.photos else ""
    return f"{store.name}\n    {what}{decimal(store.bytes)}, {store.state}, last used {store.used:%Y-%m-%d %H:%M}"


if __name__ == "__main__":
    run_command(CacheCommand, show)
