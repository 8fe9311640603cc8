"""Collect what can be known about the images of a data set; also of one that cannot be trained on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.escaping import printable
from analysis.report.sections.data import UNSPLIT
from analysis.schema import CLASS, COPY_KIND, COPY_SET, GROUP, LEFT_OUT, PATH, REASON, SPLIT
from inat.config.trial import DataConfig
from inat.constants import DIGITS, TEST, THUMBNAILS_NPY, TRAIN, VAL
from inat.data import digits
from inat.data.copies_store import open_copies
from inat.data.decode import form_of
from inat.data.duplicates import no_copies
from inat.data.image_files import ImageFiles, Listing
from inat.data.image_store import ImageStore, open_stores
from inat.data.inspect.headers import Header, file_paths, read_headers, sample_sizes, upright_sizes
from inat.data.listing import groups_of, list_data
from inat.data.records import Row, copy_sets, copy_table, skipped_table, split_table, stored_image
from inat.data.split_rows import SplitRows, Units, split_names
from inat.data.splits import Assignment, assignment, load_splits
from inat.data.thumbnails import SIDE, grey
from inat.errors import CacheFullError, DataError

LIBRARY_SAMPLE = 500  # images of a library whose size is looked up: it may have to decode each
NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Collected:
    """A data set; N images, of which ``usable`` (N,) could be read.

    ``split`` (N,) names the split of each image, LEFT_OUT or UNSPLIT; "" for unreadable ones. ``sizes`` (N, 2) are
    width and height, 0 where they are unknown; ``brightness`` (N,) is the mean in 0..1. ``formats`` and ``modes`` count
    the images whose header is known. ``image`` returns the stored pixels of a row. The frames are those of
    ``analysis.report.sections.data``, and ``copy_rows`` are the sets of copies in the order of ``copies``. ``problem``
    says why nothing can be trained on these images; ``notes`` are further sentences for the user.
    """

    config: DataConfig
    meaning: str
    classes: tuple[str, ...]
    names: Sequence[str]
    labels: NDArray[np.int64]
    usable: NDArray[np.bool_]
    split: NDArray[np.str_]
    sizes: NDArray[np.int64]
    aspects: NDArray[np.float32]
    brightness: NDArray[np.float32]
    image: Callable[[int], NDArray[np.uint8]]
    splits: pd.DataFrame
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    skipped: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[PATH, REASON]))
    copies: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=[COPY_SET, COPY_KIND, PATH, CLASS, SPLIT])
    )
    copy_rows: Sequence[Sequence[int]] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()


def collect(config: DataConfig) -> Collected:
    """Everything about the images of ``config``; decodes them if need be.

    DataError if they cannot be listed or decoded; what else prevents a training is the ``problem`` of the result.
    """
    if config.data == DIGITS:
        return _collect_digits(config)
    try:
        return _collect_files(config, assignment(config), "")
    except CacheFullError:
        raise
    except DataError as error:
        return _collect_files(config, _without_splits(config), str(error))


def _without_splits(config: DataConfig) -> Assignment:
    """All images as one list, for data that cannot be split; a held-out test split stays one."""
    listing = list_data(config)
    stores = tuple(open_stores(part, [form_of(config)], Path(config.cache_dir), 1.0)[0] for part in listing.parts)
    usable = np.concatenate([store.aspects > 0 for store in stores])
    held_out = np.array([*listing.roles, *[TEST] * (len(usable) - len(listing.roles))]) == TEST
    copies = no_copies(len(usable)) if config.keep_duplicates else open_copies(stores)
    rows = SplitRows(np.flatnonzero(usable & ~held_out), NO_ROWS, np.flatnonzero(usable & held_out), NO_ROWS, NO_ROWS)
    return Assignment(listing, stores, rows, copies, groups_of(listing, config.group_by), Units(copies.sets))


def _collect_files(config: DataConfig, assigned: Assignment, problem: str) -> Collected:
    listing = assigned.listing
    aspects = np.concatenate([store.aspects for store in assigned.stores])
    sizes, formats, modes = _headers(listing, aspects)
    split = np.array(split_names(len(aspects), assigned.rows), dtype=object)
    split[assigned.rows.left_out] = LEFT_OUT
    splits = _frame(split_table(assigned), PATH, CLASS, SPLIT, GROUP)
    copies = _frame(copy_table(assigned), COPY_SET, COPY_KIND, PATH, CLASS, SPLIT)
    if problem:
        split[split == TRAIN] = UNSPLIT
        splits[SPLIT], copies[SPLIT] = (frame[SPLIT].replace(TRAIN, UNSPLIT) for frame in (splits, copies))
    return Collected(
        config, "not split, see the error below" if problem else listing.meaning, listing.development.classes,
        listing.names, np.array(listing.labels, np.int64), aspects > 0, split.astype(str), sizes, aspects,
        _brightness(assigned.stores), partial(stored_image, assigned), splits, formats, modes,
        _frame(skipped_table(assigned), PATH, REASON), copies, copy_sets(assigned), problem, listing.notes,
    )  # fmt: skip


def _frame(rows: Sequence[Row], *columns: str) -> pd.DataFrame:
    """A table whose texts pandas can hold: names of files need not be Unicode."""
    return pd.DataFrame([[_as_unicode(row[name]) for name in columns] for row in rows], columns=list(columns))


def _as_unicode(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def _headers(listing: Listing, aspects: NDArray[np.float32]) -> tuple[NDArray[np.int64], Counter[str], Counter[str]]:
    headers: list[Header | None] = []
    for part in listing.parts:
        usable = aspects[len(headers) : len(headers) + len(part.files)] > 0
        headers += _headers_of(part, usable)
    known = [header for header in headers if header is not None and header.format]
    return (
        upright_sizes(headers, aspects),
        Counter(header.format for header in known),
        Counter(header.mode for header in known),
    )


def _headers_of(files: ImageFiles, usable: NDArray[np.bool_]) -> list[Header | None]:
    rows = np.flatnonzero(usable).tolist()
    found: list[Header | None] = [None] * len(usable)
    if files.source:
        from inat.data.torchvision_data import reader

        rows = rows[:: max(1, len(rows) // LIBRARY_SAMPLE)]
        headers = sample_sizes(reader(files), rows)
    else:
        headers = read_headers(file_paths(files.root, [files.files[row].path for row in rows]))
    for row, header in zip(rows, headers, strict=True):
        found[row] = header
    return found


def _brightness(stores: Sequence[ImageStore]) -> NDArray[np.float32]:
    thumbnails = [np.load(store.directory / THUMBNAILS_NPY, mmap_mode="r") for store in stores]
    return np.concatenate([mean_brightness(part) for part in thumbnails])


def mean_brightness(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mean brightness in 0..1 of each of N thumbnails (N, H, W, 3)."""
    means: NDArray[np.float64] = grey(thumbnails).mean(axis=(1, 2)) / 255
    return means.astype(np.float32)


def _collect_digits(config: DataConfig) -> Collected:
    splits = load_splits(config)
    labels, count = splits.train.labels, digits.COUNT
    split = np.full(count, "", dtype=object)
    for name, part in ((TRAIN, splits.train), (VAL, splits.val), (TEST, splits.test)):
        split[part.rows] = name
    names = [f"scan {row}" for row in range(count)]
    frame = pd.DataFrame({PATH: names, CLASS: np.array(splits.classes)[labels], SPLIT: split, GROUP: ""})
    images = splits.train.images
    return Collected(
        config, "the test split is cut from the scans, then validation from the rest", splits.classes, names, labels,
        np.ones(count, np.bool_), split.astype(str), np.full((count, 2), 8), np.ones(count, np.float32),
        mean_brightness(digits.load(SIDE)[0]), lambda row: images[row], frame, Counter({"scikit-learn": count}),
        Counter({"L": count}),
    )  # fmt: skip
