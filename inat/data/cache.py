"""List or remove the decoded photos, and the features of frozen stages, that searches keep.

    python -m inat.data.cache                          # all stores: name, folder, size, state
    python -m inat.data.cache --clear outdated         # unfinished stores, and stores of changed or removed photos
    python -m inat.data.cache --clear NAME [NAME ...]  # stores by their name in the list
    python -m inat.data.cache --clear all

A running search keeps the stores it has opened: the system frees their space when its last trial has ended.
"""

import glob
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from rich.filesize import decimal

from analysis.files import read_json
from analysis.terminal import PlainConsole
from inat.cli import run_command
from inat.config.validation import expanded
from inat.constants import CACHE_DIR, DIGITS, MANIFEST_JSON, NAMES_JSON
from inat.data.image_files import ImageFile, ImageFiles
from inat.data.image_folder import image_file, list_split
from inat.data.image_store import store_directory
from inat.data.store import BUILDING, UNREADABLE, lock_path, state_name
from inat.errors import ConfigError, DataError, InatError

ALL, OUTDATED = "all", "outdated"
COPIES = "copies"  # the features of a store of copies
CURRENT, CHANGED, GONE, UNFINISHED = "current", "photos changed", "photos gone", "unfinished"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheCommand:
    """List the decoded photos and features, or remove some of them."""

    cache_dir: Path = CACHE_DIR
    """Cache folder, as given to the search."""
    clear: tuple[str, ...] | None = None
    """Stores to remove: names from the list, "outdated" or "all"."""


@dataclass(frozen=True, slots=True)
class CachedStore:
    """One store of the cache.

    ``folder`` holds its ``images``, of which ``unreadable`` ones are left out; ``size`` is the side of an image in
    pixels, ``bytes`` the size on the disk, ``used`` the time when the store was last opened. ``features`` names network
    and split of a feature store, and is "" for an image store.
    """

    directory: Path
    folder: Path
    size: int
    images: int
    unreadable: int
    state: str
    bytes: int
    used: datetime
    features: str = ""

    @property
    def name(self) -> str:
        """Name of the directory, which --clear takes."""
        return self.directory.name


def cached_stores(cache_dir: Path) -> list[CachedStore]:
    """The stores in ``cache_dir``, last used first; other files and folders are ignored."""
    found = (_read(directory) for directory in _directories(cache_dir))
    return sorted((store for store in found if store), key=lambda store: store.used, reverse=True)


def clear(stores: Sequence[CachedStore]) -> list[CachedStore]:
    """Remove ``stores``; returns the stores that stay because a search is building them at this moment."""
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
    # Renamed first: a crash then leaves an unfinished store, not one that looks complete.
    unfinished = directory.with_name(directory.name.removesuffix(BUILDING) + BUILDING)
    if unfinished != directory:
        shutil.rmtree(unfinished, ignore_errors=True)
        directory.rename(unfinished)
    shutil.rmtree(unfinished)


def choose(stores: Sequence[CachedStore], names: Sequence[str]) -> list[CachedStore]:
    """The stores that the ``names`` given to --clear select; ConfigError for an unknown name."""
    if not names:
        raise ConfigError(f"--clear needs names from the list, {OUTDATED} or {ALL}")
    known = {ALL, OUTDATED, *(store.name for store in stores)}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"nothing named {unknown[0]!r} to clear; choose from {', '.join(sorted(known))}")
    return [
        store for store in stores
        if ALL in names or store.name in names or (OUTDATED in names and store.state != CURRENT)
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
        manifest = read_json(directory / MANIFEST_JSON)
        folder, size = Path(manifest["folder"]), int(manifest["size"])
        images, unreadable = int(manifest["photos"]), int(manifest["skipped"])
        built_from, features = manifest.get("state", state_name(directory)), manifest.get("features", "")
        if not isinstance(built_from, str) or not isinstance(features, str):
            return None
    except (OSError, *UNREADABLE):
        return None  # not a store, or removed meanwhile
    state = _state(built_from, folder, directory.parent)
    return CachedStore(directory, folder, size, images, unreadable, state, size_on_disk, used, features)


def _state(built_from: str, folder: Path, cache_dir: Path) -> str:
    """Whether the images in ``folder`` are still those of the state named ``built_from``."""
    if built_from == DIGITS:
        return CURRENT
    try:
        files = _list_again(built_from, folder, cache_dir)
    except (OSError, *UNREADABLE, InatError):
        return GONE
    return CURRENT if state_name(store_directory(files, 0, Path())) == built_from else CHANGED


def _list_again(built_from: str, folder: Path, cache_dir: Path) -> ImageFiles:
    """The files of a state as they are now: those of the class folders, or those that its image store names."""
    store = next(cache_dir.glob(f"{glob.escape(built_from)}-*px/{MANIFEST_JSON}"), None)
    manifest = {} if store is None else read_json(store)
    if store is None or manifest.get("complete", True):
        return list_split(folder)
    classes, source = tuple(manifest["classes"]), manifest["source"]
    paths = read_json(store.with_name(NAMES_JSON))
    if not source:
        return ImageFiles(folder, classes, tuple(image_file(path, folder / path) for path in paths), ())
    if not folder.is_dir():
        raise DataError(f"{folder} is gone")
    return ImageFiles(folder, classes, tuple(ImageFile(path, 0, 0, 0o444) for path in paths), (), source=source)


def show(command: CacheCommand) -> None:
    """List the stores, or remove some and print how many."""
    console = PlainConsole()
    cache_dir = expanded(command.cache_dir).absolute()
    stores = cached_stores(cache_dir)
    if command.clear is not None:
        chosen = choose(stores, command.clear)
        busy = clear(chosen)
        removed = [store for store in chosen if store not in busy]
        console.print(f"removed {len(removed)} of {len(stores)}, {decimal(sum(store.bytes for store in removed))}")
        if busy:
            names = ", ".join(store.name for store in busy)
            raise DataError(f"a search is building {names}; clear it when the search has ended")
    elif not stores:
        console.print(f"no stores in {cache_dir}")
    else:
        for store in stores:
            console.print(describe(store))
        console.print(f"{decimal(sum(store.bytes for store in stores))} in {cache_dir}")


def describe(store: CachedStore) -> str:
    """Two lines: the name, which is easy to copy, and the content."""
    unreadable = f" ({store.unreadable:,} unreadable)" if store.unreadable else ""
    features = f"features ({store.features}) of " if store.features and store.size else ""
    features = "copies among " if store.features == COPIES else features
    size = f" at {store.size} px" if store.size else ""
    images = f"{store.images:,} photos{unreadable} of {store.folder}{size}"
    content = f"{features}{images}, " if store.images else ""
    used = f"last used {store.used:%Y-%m-%d %H:%M}"
    return f"{store.name}\n    {content}{decimal(store.bytes)}, {store.state}, {used}"


if __name__ == "__main__":
    run_command(CacheCommand, show)
