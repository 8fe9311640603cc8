"""What a study directory keeps about its images: splits, files that are not used, and copies."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from analysis.escaping import unescape_csv_cell
from analysis.files import read_bytes
from analysis.schema import (
    CLASS,
    COPIES_JPG,
    COPY_KIND,
    COPY_SET,
    DATA_DIR,
    DUPLICATES_CSV,
    GROUP,
    PATH,
    REASON,
    SKIPPED_CSV,
    SPLIT,
    SPLITS_CSV,
)

MAX_BYTES = 1_000_000_000  # of a table; splits.csv of ten million images
MAX_ROWS = 10_000_000
MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS = 20_000_000, 20_000_000
PICTURE_WIDTH, PICTURE_HEIGHT = 1100, 2000  # px; a larger picture is made smaller
SPLIT_COLUMNS = (PATH, CLASS, SPLIT, GROUP)
SKIPPED_COLUMNS = (PATH, REASON)
COPY_COLUMNS = (COPY_SET, COPY_KIND, PATH, CLASS, SPLIT)


@dataclass(frozen=True, slots=True)
class DataRecords:
    """The tables of ``data/`` in a study directory, all cells as text.

    ``splits``: path, class, split and group of each image. ``skipped``: path and reason of each file that is not used.
    ``copies``: set, kind, path, class and split of each image that has copies. ``picture``: some of these copies side
    by side. ``errors``: what could not be read.
    """

    splits: pd.DataFrame
    skipped: pd.DataFrame
    copies: pd.DataFrame
    picture: Image.Image | None = None
    errors: tuple[str, ...] = ()


def read_data_records(study: Path) -> DataRecords | None:
    """The records of a study directory; None for a study of an earlier version or another tool, which has none."""
    directory = study / DATA_DIR
    if not directory.is_dir():
        return None
    errors: list[str] = []
    splits = _read_table(directory / SPLITS_CSV, SPLIT_COLUMNS, study, errors)
    skipped = _read_table(directory / SKIPPED_CSV, SKIPPED_COLUMNS, study, errors)
    copies = _read_table(directory / DUPLICATES_CSV, COPY_COLUMNS, study, errors)
    picture = _read_picture(directory / COPIES_JPG, study, errors)
    if not errors and not (len(splits) or len(skipped) or len(copies)):
        return None
    return DataRecords(splits, skipped, copies, picture, tuple(errors))


def read_splits(study: Path) -> pd.DataFrame | None:
    """The path, class, split and group of each image of a study directory; None if it does not record them."""
    errors: list[str] = []
    table = _read_table(study / DATA_DIR / SPLITS_CSV, SPLIT_COLUMNS, study, errors)
    return table if len(table) else None


def _read_table(path: Path, columns: Sequence[str], study: Path, errors: list[str]) -> pd.DataFrame:
    """The columns of a table; without rows if there is no such file, or if it cannot be read."""
    try:
        content = read_bytes(path, MAX_BYTES, inside=study)
        frame = pd.read_csv(
            io.BytesIO(content), dtype=str, keep_default_na=False, encoding_errors="backslashreplace", nrows=MAX_ROWS,
            on_bad_lines="skip", usecols=lambda name: name in columns,
        )  # fmt: skip
        if missing := [name for name in columns if name not in frame]:
            raise ValueError(f"it has no column {missing[0]}")
    except FileNotFoundError:
        return pd.DataFrame(columns=list(columns), dtype=str)
    except (OSError, ValueError, MemoryError) as error:  # pandas' own errors are ValueErrors
        errors.append(f"{DATA_DIR}/{path.name} cannot be read ({getattr(error, 'strerror', None) or error})")
        return pd.DataFrame(columns=list(columns), dtype=str)
    return frame[list(columns)].map(unescape_csv_cell)


def _read_picture(path: Path, study: Path, errors: list[str]) -> Image.Image | None:
    """The picture of copies, decoded here: a page must not contain a stranger's file as it is."""
    try:
        content = read_bytes(path, MAX_PICTURE_BYTES, inside=study)
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.width * image.height > MAX_PICTURE_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels")
            picture = image.convert("RGB")
        picture.thumbnail((PICTURE_WIDTH, PICTURE_HEIGHT))
        return picture
    except FileNotFoundError:
        return None
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        errors.append(f"{DATA_DIR}/{path.name} cannot be read ({getattr(error, 'strerror', None) or error})")
        return None
