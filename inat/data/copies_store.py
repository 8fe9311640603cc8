"""The copies in a data set, found once per machine and kept beside the image stores."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inat.constants import COPIES_NPZ, MANIFEST_JSON, THUMBNAILS_NPY
from inat.data.duplicates import MAX_DISTANCE, MIN_CONTRAST, MIN_CORRELATION, Copies, find_copies
from inat.data.image_store import ImageStore
from inat.data.store import build_under_lock, publish, read_store, state_name

FORMAT = 1  # increase it when the same thumbnails would give other copies


def open_copies(stores: Sequence[ImageStore]) -> Copies:
    """The copies among the images of all ``stores``, numbered through; one process finds them, the others wait.

    Raises DataError if the cache cannot be written.
    """
    directory = _directory(stores)
    if (copies := _open(directory)) is None:
        build_under_lock(directory, lambda: _open(directory) is not None, lambda: _build(stores, directory))
        copies = _open(directory)
    assert copies is not None
    return copies


def _directory(stores: Sequence[ImageStore]) -> Path:
    first = stores[0].directory
    settings = f"{FORMAT} {MAX_DISTANCE} {MIN_CORRELATION} {MIN_CONTRAST}"
    # Which images could be read decides, too: the state of a folder does not say that a disk failed for a while.
    digest = hashlib.sha256(settings.encode())
    for store in stores:
        digest.update(state_name(store.directory).encode() + store.rows.tobytes())
    return first.with_name(f"{state_name(first)}-{digest.hexdigest()[:16]}copies")


def _open(directory: Path) -> Copies | None:
    def read() -> Copies:
        with np.load(directory / COPIES_NPZ) as arrays:
            return Copies(arrays["sets"], arrays["pairs"], arrays["exact"])

    return read_store(directory, read)


def _build(stores: Sequence[ImageStore], directory: Path) -> None:
    thumbnails = np.concatenate([np.load(store.directory / THUMBNAILS_NPY) for store in stores])
    usable = np.concatenate([store.aspects > 0 for store in stores])
    copies = find_copies(thumbnails, usable)
    manifest = {
        "features": "copies", "state": state_name(stores[0].directory), "folder": _folder(stores[0]), "size": 0,
        "photos": len(usable), "skipped": 0,
    }  # fmt: skip
    with publish([directory]) as building:
        np.savez(building[directory] / COPIES_NPZ, sets=copies.sets, pairs=copies.pairs, exact=copies.exact)
        (building[directory] / MANIFEST_JSON).write_text(json.dumps(manifest, indent=2))


def _folder(store: ImageStore) -> str:
    return str(json.loads((store.directory / MANIFEST_JSON).read_text())["folder"])
