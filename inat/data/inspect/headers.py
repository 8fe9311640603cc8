"""What the headers of image files say, without decoding them: size, format and colour mode."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inat.data.decode import IMAGES_PER_TASK
from inat.data.file_kinds import register_plugins
from inat.machine import usable_cores

# A header is read in 0.1 ms; a network disk answers several threads at once.
THREADS_PER_CORE = 4


class Header(NamedTuple):
    """Size in pixels as the image is stored, format and colour mode in Pillow's words."""

    width: int
    height: int
    format: str
    mode: str


def read_headers(paths: Sequence[Path]) -> list[Header | None]:
    """The header of each file; None for one that cannot be read (any more)."""
    register_plugins()
    return _map(lambda row: read_header(paths[row]), len(paths))


def read_header(path: Path) -> Header | None:
    """The header of one file; None if it cannot be read."""
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            return None
        with Image.open(path) as image:
            return Header(image.width, image.height, image.format or "", image.mode)
    except Exception:  # Pillow's plugins raise nearly anything on a strange file
        return None


def _map(read: Callable[[int], Header | None], count: int) -> list[Header | None]:
    starts = range(0, count, IMAGES_PER_TASK)
    tasks = [range(start, min(start + IMAGES_PER_TASK, count)) for start in starts]
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS_PER_CORE * usable_cores()) as pool:
        warnings.simplefilter("ignore")  # of unusual EXIF data
        return [header for task in pool.map(lambda rows: [read(row) for row in rows], tasks) for header in task]


def upright_sizes(headers: Sequence[Header | None], aspects: NDArray[np.float32]) -> NDArray[np.int64]:
    """Width and height (N, 2) of each image as it is seen; 0 where the header is unknown.

    ``aspects`` (N,) are width / height after the EXIF orientation was applied: a photo that was stored on its side has
    the inverse of it in its header.
    """
    sizes = np.array([(0, 0) if header is None else header[:2] for header in headers], np.int64).reshape(-1, 2)
    known = (sizes > 0).all(axis=1) & (aspects > 0)
    stored = np.divide(sizes[:, 0], sizes[:, 1], out=np.ones(len(sizes)), where=known)
    wanted = np.where(known, aspects, 1.0)
    turned = known & (np.abs(np.log(stored * wanted)) < np.abs(np.log(stored / wanted)))
    sizes[turned] = sizes[turned][:, ::-1]
    return sizes


def sample_sizes(read: Callable[[int], Image.Image], rows: Sequence[int]) -> list[Header | None]:
    """Headers of images that a library returns decoded, whose formats are unknown."""

    def header(row: int) -> Header | None:
        image = read(row)
        return Header(image.width, image.height, "", "")

    return [header(row) for row in rows]


def file_paths(root: Path, names: Sequence[str]) -> list[Path]:
    """Paths of files below ``root``."""
    return [Path(os.path.join(root, name)) for name in names]
