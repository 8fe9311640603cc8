"""The files behind the images of a split: their names, and their pixels before any resizing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from inat.config.trial import DataConfig
from inat.constants import DIGITS, TEST
from inat.data.image_files import ImageFiles
from inat.data.image_store_builder import reader_of
from inat.data.splits import assignment, list_images


@dataclass(frozen=True, slots=True)
class Original:
    """An image's name, and its pixels, upright and in mode RGB; None if there is no file to read any more."""

    name: str
    image: Image.Image | None


def read_originals(config: DataConfig, positions: Iterable[int], split: str = TEST) -> Iterator[Original]:
    """Yield the originals of the images at ``positions`` of split "val" or "test", one by one: photos take much memory.

    The name is the file's path below the folder of the data set, or "scan N" of the digits, which have no files.
    """
    names = list_images(config, split)
    if config.data == DIGITS:
        yield from (Original(names[position], None) for position in positions)
        return
    assigned = assignment(config)
    rows = getattr(assigned.rows, split)
    for position in positions:
        yield Original(names[position], _read(assigned.listing.parts, int(rows[position])))


def _read(parts: Sequence[ImageFiles], row: int) -> Image.Image | None:
    """Image ``row`` of ``parts``, whose rows are numbered one part after the other."""
    for part in parts:
        if row < len(part.files):
            try:
                return reader_of(part)(row)
            except Exception:  # the file was readable when it was stored: its stored image can still be shown
                return None
        row -= len(part.files)
    raise IndexError(row)
