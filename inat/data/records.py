"""What a study keeps about its images: splits, unused files and copies, as tables in its folder ``data/``."""

import csv
import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from analysis.escaping import unescape_csv_cell
from analysis.files import check_regular
from analysis.schema import (
    CLASS,
    COPIES_JPG,
    COPY_KIND,
    COPY_SET,
    DUPLICATES_CSV,
    GROUP,
    LEFT_OUT,
    NEAR_COPY,
    PATH,
    REASON,
    SAME_FILE,
    SAME_PIXELS,
    SKIPPED_CSV,
    SPLIT,
    SPLITS_CSV,
)
from inat.data.decode import read_image
from inat.data.listing import named_group
from inat.data.split_rows import split_names
from inat.data.splits import Assignment
from inat.study.atomic_io import write_table

PICTURE_SETS, PICTURE_SIDE, PICTURE_GAP = 24, 96, 6  # sets of copies in the picture; pixels of an image and between two
SETS_PER_ROW = 3
MAX_HASHED_BYTES = 200_000_000  # of a file; a larger one is compared by its pixels

Row = dict[str, Any]


def write_records(directory: Path, assigned: Assignment) -> None:
    """Write splits.csv, skipped.csv, duplicates.csv and a picture of copies into ``directory``; OSError if it fails."""
    directory.mkdir(exist_ok=True)
    write_table(directory / SPLITS_CSV, split_table(assigned), (PATH, CLASS, SPLIT, GROUP))
    write_table(directory / SKIPPED_CSV, skipped_table(assigned), (PATH, REASON))
    copies = copy_table(assigned)
    if copies:
        write_table(directory / DUPLICATES_CSV, copies, (COPY_SET, COPY_KIND, PATH, CLASS, SPLIT))
        draw_copies(assigned).save(directory / COPIES_JPG, quality=85)


def split_table(assigned: Assignment) -> list[Row]:
    """One row per readable image: its path, class, split (LEFT_OUT for images in none) and group."""
    names = split_names(len(assigned.listing.names), assigned.rows)
    left_out = set(assigned.rows.left_out.tolist())
    listing, groups = assigned.listing, assigned.groups
    classes = listing.development.classes
    return [
        {
            PATH: path,
            CLASS: classes[label],
            SPLIT: names[row] or LEFT_OUT,
            GROUP: named_group(groups[row]) if groups else "",
        }
        for row, (path, label) in enumerate(zip(listing.names, listing.labels, strict=True))
        if names[row] or row in left_out
    ]


@lru_cache(maxsize=1)
def skipped_table(assigned: Assignment) -> list[Row]:
    """One row per file that is not used: first the unreadable images, then the files that are no images."""
    rows = []
    for part, store in zip(assigned.listing.parts, assigned.stores, strict=True):
        reasons = _read_reasons(store.directory / SKIPPED_CSV)
        rows += [{PATH: os.path.join(part.prefix, path), REASON: reason} for path, reason in reasons.items()]
    for part in assigned.listing.parts:
        rows += [{PATH: os.path.join(part.prefix, file.path), REASON: file.reason} for file in part.unused]
    return rows


def _read_reasons(path: Path) -> dict[str, str]:
    check_regular(path)
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {unescape_csv_cell(row[PATH]): unescape_csv_cell(row[REASON]) for row in csv.DictReader(file)}


@lru_cache(maxsize=1)
def copy_table(assigned: Assignment) -> list[Row]:
    """One row per image that has copies: number of the set, how it equals the first of the set, path, class, split."""
    names, listing = split_names(len(assigned.listing.names), assigned.rows), assigned.listing
    paths, classes = listing.names, listing.development.classes
    exact = set(assigned.copies.pairs[assigned.copies.exact].ravel().tolist())  # of equal thumbnails
    table = []
    for number, rows in enumerate(copy_sets(assigned), start=1):
        kinds = _kinds(assigned, rows) if exact.intersection(rows) else dict.fromkeys(rows, NEAR_COPY)
        for row in rows:
            found = {COPY_SET: number, COPY_KIND: kinds[row], PATH: paths[row]}
            table.append(found | {CLASS: classes[listing.labels[row]], SPLIT: names[row] or LEFT_OUT})
    return table


def copy_sets(assigned: Assignment) -> list[list[int]]:
    """The sets of two or more copies, each as the rows of its images; the sets that cross splits or classes first."""
    sets: dict[int, list[int]] = {}
    members, counts = np.unique(assigned.copies.sets, return_counts=True)
    several = set(members[counts > 1].tolist())
    for row, number in enumerate(assigned.copies.sets.tolist()):
        if number in several:
            sets.setdefault(number, []).append(row)
    left_out = set(assigned.rows.left_out.tolist())
    return sorted(sets.values(), key=lambda rows: (not is_conflict(assigned, rows), left_out.isdisjoint(rows)))


def is_conflict(assigned: Assignment, rows: Sequence[int]) -> bool:
    """Whether these copies are in more than one class."""
    return len({assigned.listing.labels[row] for row in rows}) > 1


def _kinds(assigned: Assignment, rows: Sequence[int]) -> dict[int, str]:
    """How each image equals the first of its set; the first itself has the kind of the closest other one."""
    first = _digests(assigned, rows[0])
    kinds = {row: _kind(first, _digests(assigned, row)) for row in rows[1:]}
    order = (SAME_FILE, SAME_PIXELS, NEAR_COPY)
    return {rows[0]: min(kinds.values(), key=order.index), **kinds}


def _kind(first: tuple[str, str], other: tuple[str, str]) -> str:
    if other[0] and other[0] == first[0]:
        return SAME_FILE
    return SAME_PIXELS if other[1] and other[1] == first[1] else NEAR_COPY


def _digests(assigned: Assignment, row: int) -> tuple[str, str]:
    """Digests of the file and of the decoded pixels of an image; "" for what cannot be read any more."""
    number, index = _locate(assigned, row)
    part = assigned.listing.parts[number]
    if part.source:  # the images of a library have no files
        return "", hashlib.blake2b(stored_image(assigned, row).tobytes()).hexdigest()
    path = part.root / part.files[index].path
    try:
        image = read_image(path)
        pixels = hashlib.blake2b(repr(image.size).encode() + image.tobytes()).hexdigest()
        if path.stat().st_size > MAX_HASHED_BYTES:
            return "", pixels
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest(), pixels
    except Exception:  # removed or damaged since it was decoded
        return "", ""


def _locate(assigned: Assignment, row: int) -> tuple[int, int]:
    """The number of the part that an image is in, and its index there."""
    count = len(assigned.listing.development.files)
    return (0, row) if row < count else (1, row - count)


def stored_image(assigned: Assignment, row: int) -> NDArray[np.uint8]:
    """The stored pixels (S, S, 3) of an image."""
    number, index = _locate(assigned, row)
    pixels: NDArray[np.uint8] = assigned.stores[number].images[index]
    return pixels


def draw_copies(assigned: Assignment) -> Image.Image:
    """A picture of two images of up to PICTURE_SETS sets of copies, side by side, in order of the table.

    They are the first of the set and the first of another class, or else the first two.
    """
    sets = copy_sets(assigned)[:PICTURE_SETS]
    width, lines = 2 * PICTURE_SIDE + PICTURE_GAP, -(-len(sets) // SETS_PER_ROW)
    columns = min(SETS_PER_ROW, len(sets))
    sheet = Image.new("RGB", (columns * (width + PICTURE_GAP), lines * (PICTURE_SIDE + PICTURE_GAP)), "white")
    for position, rows in enumerate(sets):
        x = position % SETS_PER_ROW * (width + PICTURE_GAP)
        y = position // SETS_PER_ROW * (PICTURE_SIDE + PICTURE_GAP)
        for offset, row in zip((0, PICTURE_SIDE), _pair(assigned, rows), strict=True):
            image = Image.fromarray(stored_image(assigned, row)).resize((PICTURE_SIDE, PICTURE_SIDE))
            sheet.paste(image, (x + offset, y))
    return sheet


def _pair(assigned: Assignment, rows: Sequence[int]) -> tuple[int, int]:
    labels = assigned.listing.labels
    return rows[0], next((row for row in rows if labels[row] != labels[rows[0]]), rows[1])
