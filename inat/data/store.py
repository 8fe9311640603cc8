"""Decode every photograph once: a folder becomes one uint8 memory map that all trials of a node share."""

import csv
import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from inat.data.folder import PhotoFolder
from inat.errors import DataError

FORMAT = 1  # raise when the same photographs would give other bytes
IMAGES, MANIFEST, SKIPPED = "images.npy", "manifest.json", "skipped.csv"


@dataclass(frozen=True, slots=True)
class PhotoStore:
    """Decoded photographs: ``images`` (N, size, size, 3) uint8 memory map, ``labels`` (N,), what was left out."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    skipped: int
    directory: Path


def open_store(photos: PhotoFolder, size: int, cache_dir: Path, max_bad_fraction: float) -> PhotoStore:
    """The store of ``photos`` at ``size`` px, built first if it is not there; one process builds, others wait.

    Raises DataError if more than ``max_bad_fraction`` of the photographs cannot be read, or the disk is too small.
    """
    directory = cache_dir / _key(photos, size)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        (cache_dir / ".writable").touch()
    except OSError as error:
        raise DataError(f"cannot write to {cache_dir} ({error.strerror}); choose another --cache-dir") from error
    with FileLock(directory.with_suffix(".lock")):
        if not directory.exists():
            _build(photos, size, directory, max_bad_fraction)
    manifest = json.loads((directory / MANIFEST).read_text())
    images = np.load(directory / IMAGES, mmap_mode="r")[: len(manifest["labels"])]
    return PhotoStore(images, np.array(manifest["labels"], np.int64), manifest["skipped"], directory)


def read_photo(path: Path, size: int) -> NDArray[np.uint8]:
    """One photograph, upright, as (size, size, 3): the bytes of torchvision's ``Resize((size, size))`` on it."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        return np.asarray(upright.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def _key(photos: PhotoFolder, size: int) -> str:
    digest = hashlib.sha256(f"{FORMAT}\0{size}\0".encode() + os.fsencode(photos.root))
    for path in photos.paths:
        stat = (photos.root / path).stat(follow_symlinks=True) if (photos.root / path).exists() else None
        digest.update(os.fsencode(path) + f"\0{stat and (stat.st_size, stat.st_mtime_ns)}\0".encode())
    return f"{photos.root.name}-{size}px-{digest.hexdigest()[:16]}"


def _build(photos: PhotoFolder, size: int, directory: Path, max_bad_fraction: float) -> None:
    count = len(photos.paths)
    needed, free = count * size * size * 3, shutil.disk_usage(directory.parent).free
    if needed > free:
        raise DataError(
            f"{directory.parent} has {free / 1e9:.1f} GB free and the decoded photos need {needed / 1e9:.1f} GB; "
            "pass --cache-dir on a larger disk or a smaller --image-size"
        )
    building = directory.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)  # of a process that was killed; we hold the lock
    building.mkdir()
    try:
        skipped = _decode_all(photos, size, building / IMAGES)
        if len(skipped) > max_bad_fraction * count:
            first = "; ".join(f"{path}: {reason}" for path, reason in list(skipped.items())[:3])
            raise DataError(
                f"{len(skipped)} of {count} photos in {photos.root} cannot be read, more than the allowed "
                f"{max_bad_fraction:.1%} (first: {first}); remove or replace them"
            )
        labels = [label for path, label in zip(photos.paths, photos.labels, strict=True) if path not in skipped]
        (building / MANIFEST).write_text(json.dumps({"labels": labels, "skipped": len(skipped)}))
        with open(building / SKIPPED, "w", newline="") as file:
            csv.writer(file).writerows([("path", "reason"), *skipped.items()])
        os.replace(building, directory)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _decode_all(photos: PhotoFolder, size: int, target: Path) -> dict[str, str]:
    """Write all readable photographs to ``target`` in order; the unreadable ones with their reasons come back."""
    images = np.lib.format.open_memmap(target, "w+", np.uint8, (len(photos.paths), size, size, 3))
    skipped: dict[str, str] = {}
    console = Console(stderr=True)

    def read(path: str) -> NDArray[np.uint8] | str:
        try:
            return read_photo(photos.root / path, size)
        except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
            return f"{type(error).__name__}: {error}"

    row = 0
    # Threads suffice: Pillow releases the interpreter lock while it decodes and resizes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(read, photos.paths)
        bar = track(decoded, f"decoding {photos.root.name}", len(photos.paths), console=console, transient=True,
                    disable=not console.is_terminal)  # fmt: skip
        for path, result in zip(photos.paths, bar, strict=True):
            if isinstance(result, str):
                skipped[path] = result
            else:
                images[row] = result
                row += 1
    images.flush()
    return skipped
