"""The splits of a data set as arrays: training, validation and test."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inat.config.trial import SHIFT, DataConfig
from inat.constants import DIGITS, SKIPPED_CSV, TEST, TRAIN, VAL
from inat.data import digits
from inat.data.copies_store import open_copies
from inat.data.decode import Resize, form_of
from inat.data.duplicates import Copies, join_sets, no_copies
from inat.data.folds import check_listed_foldable, check_units_foldable, fold_rows
from inat.data.image_files import Listing
from inat.data.image_store import ImageStore, open_stores
from inat.data.listing import check_splittable, groups_of, list_data
from inat.data.split_rows import SplitRows, Units, assign, check_sides, first_of_each
from inat.data.store import state_name
from inat.errors import DataError

DIGITS_TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Crops:
    """Images (N, S, S, 3) uint8 to cut augmented crops from, mostly larger ones; and width / height of the originals.

    With ``mirrors``, the crops are shifts of the images as they are, and ``aspects`` (N,) are 0: see ``Batch``.
    """

    images: NDArray[np.uint8]
    aspects: NDArray[np.float32]
    mirrors: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """The images ``images[rows]`` (len(rows), H, W, 3) uint8 with ``labels[rows]``; ``images`` may be a memory map.

    ``crops`` has the same rows at a larger size; it is set only in the training split, and only with augmentation.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    crops: Crops | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Splits:
    """A data set ready for training; ``skipped`` images were unreadable, and ``skipped_lists`` list them with reasons.

    ``state`` names the state of the training images that was decoded: the name of their store without the size.
    ``folder`` is where they come from. ``left_out`` images are in no split, as copies or groups of theirs are in the
    validation or the test split.
    """

    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    state: str = DIGITS
    folder: str = DIGITS
    left_out: int = 0
    skipped: int = 0
    skipped_lists: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What a study records about its data; ``images`` counts the training images, including validation images.

    ``training`` is about how many of them a trial trains on: copies and unreadable images count as well.
    """

    fingerprint: str
    classes: tuple[str, ...]
    images: int
    training: int


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, as what is made from it is kept
class Assignment:
    """Which image of a listed data set is in which split, and why.

    All rows number the development images and then the test images of ``listing``; ``stores`` hold their pixels in this
    order. ``groups`` (N,) are the names of the user's groups, () without groups. ``units`` are what no cut divides.
    """

    listing: Listing
    stores: tuple[ImageStore, ...]
    rows: SplitRows
    copies: Copies
    groups: tuple[str, ...]
    units: Units


def inspect_data(config: DataConfig) -> DataSummary:
    """Check and summarise the data without decoding it; DataError if it cannot be trained on."""
    if config.data == DIGITS:
        images = int((1 - DIGITS_TEST_SHARE) * digits.COUNT)
        training = round((1 - (1 / config.folds if config.folds else config.val_share)) * images)
        return DataSummary(f"scikit-learn {DIGITS}", digits.CLASSES, images, training)
    listing = _list_checked(config)
    test_share, val_share = _shares(config, listing)
    images = sum(role != TEST for role in listing.roles)
    trained = images if config.folds else images - listing.roles.count(VAL)  # folds are cut from both
    rest = (1 - test_share) * (1 - (1 / config.folds if config.folds else val_share))
    return DataSummary(listing.fingerprint(), listing.development.classes, images, round(rest * trained))


def load_splits(config: DataConfig) -> Splits:
    """The splits of ``config.data`` at ``config.image_size`` px; later trials of this process get the same arrays.

    The arrays are also the same with and without augmentation, so that a device never holds them twice.
    """
    plain = config.without_augmentation()
    if not config.use_augmentation:
        return _plain_splits(plain)
    if config.policy == SHIFT:
        splits = _plain_splits(plain)
        crops = Crops(splits.train.images, np.zeros(len(splits.train.images), np.float32), mirrors=True)
    else:
        crops = _crops(plain.without_folds())  # first: it decodes the images once for both sizes
        splits = _plain_splits(plain)
    return replace(splits, train=replace(splits.train, crops=crops))


@lru_cache(maxsize=1)
def _plain_splits(config: DataConfig) -> Splits:
    return _split_digits(config) if config.data == DIGITS else _split_images(config)


@lru_cache(maxsize=1)
def _crops(config: DataConfig) -> Crops:
    if config.data == DIGITS:
        # A scan has 8x8 pixels, which any size shows in full, so larger copies would add nothing.
        images = _plain_splits(config).train.images
        return Crops(images, np.ones(len(images), np.float32))
    development = _listed(config).development
    _, large = open_stores(
        development, (form_of(config), Resize(config.crop_size)), Path(config.cache_dir), config.max_bad_fraction
    )
    return Crops(large.images, large.aspects)


def list_test_images(config: DataConfig) -> list[str]:
    """The name of each image of the test split, in order: its file below the folder, or the number of its scan."""
    return list_images(config, TEST)


def list_images(config: DataConfig, split: str) -> list[str]:
    """The name of each image of split "val" or "test", in order, as ``list_test_images`` has them."""
    if config.data == DIGITS:
        return [f"scan {row}" for row in getattr(load_splits(config), split).rows]
    assigned = assignment(config)
    names = assigned.listing.names
    return [names[row] for row in getattr(assigned.rows, split)]


def _split_digits(config: DataConfig) -> Splits:
    images, labels = digits.load(config.image_size)
    every = np.arange(len(labels))
    rows = assign(labels, every >= 0, [""] * len(labels), Units(every), (DIGITS_TEST_SHARE, config.val_share))
    if config.folds:
        check_units_foldable(rows.development, labels, Units(every), digits.CLASSES, config.folds)
        rows = fold_rows(rows, labels, Units(every), config.folds, config.repeat)[config.fold]
    rows = _with_val(config, rows)
    train, val, test = (Split(images, labels, part) for part in (rows.train, rows.val, rows.test))
    return Splits(digits.CLASSES, train, val, test)


def _split_images(config: DataConfig) -> Splits:
    assigned = assignment(config)
    store, rows = assigned.stores[0], _with_val(config, assigned.rows)
    test = assigned.stores[-1]  # the images of a test folder have a store of their own
    start = len(store.labels) if len(assigned.stores) > 1 else 0
    with_skipped = [s for s in assigned.stores if s.skipped]
    return Splits(
        assigned.listing.development.classes,
        train=Split(store.images, store.labels, rows.train),
        val=Split(store.images, store.labels, rows.val),
        test=Split(test.images, test.labels, rows.test - start),
        state=state_name(store.directory),
        folder=str(assigned.listing.development.root),
        left_out=len(rows.left_out),
        skipped=sum(s.skipped for s in with_skipped),
        skipped_lists=tuple(s.directory / SKIPPED_CSV for s in with_skipped),
    )


def _with_val(config: DataConfig, rows: SplitRows) -> SplitRows:
    return replace(rows, train=np.sort(np.concatenate([rows.train, rows.val]))) if config.train_on_val else rows


def assignment(config: DataConfig) -> Assignment:
    """Which image of a folder, a table or a data set of torchvision is in which split; decodes them if need be."""
    plain = replace(config.without_augmentation(), train_on_val=False)
    return _assign_folds(replace(plain, fold=0))[plain.fold] if plain.folds else _assign(plain)


@lru_cache(maxsize=1)
def _assign_folds(config: DataConfig) -> tuple[Assignment, ...]:
    """The assignment of each fold of one repeat, made together, as all of them come from the same cut."""
    assigned = _assign(config.without_folds())
    labels = np.array(assigned.listing.labels, np.int64)
    check_units_foldable(
        assigned.rows.development, labels, assigned.units, _class_folders(assigned.listing), config.folds
    )
    cut = fold_rows(assigned.rows, labels, assigned.units, config.folds, config.repeat)
    return tuple(replace(assigned, rows=rows) for rows in cut)


@lru_cache(maxsize=1)
def _assign(config: DataConfig) -> Assignment:
    listing = _listed(config)
    stores = tuple(_open(config, listing))
    readable = np.concatenate([store.aspects > 0 for store in stores])
    labels = np.array(listing.labels, np.int64)
    copies = no_copies(len(labels)) if config.keep_duplicates else open_copies(stores)
    groups = groups_of(listing, config.group_by)
    units = Units(copies.sets, grouped=bool(groups))
    if groups:
        units = Units(join_sets(copies.sets, np.unique(groups, return_inverse=True)[1]), grouped=True)
    roles = listing.roles + (TEST,) * (len(labels) - len(listing.roles))
    shares = _shares(config, listing)
    heads = _first_of_each_set(units, readable & (np.array(roles) != TEST))
    check_splittable(listing, labels[heads].tolist(), shares, without_copies=len(heads) < readable.sum())
    rows = assign(labels, readable, roles, units, (config.test_fraction, config.val_share))
    sides = ((TRAIN, rows.train), ("validation", rows.val), *((("test", rows.test),) if shares[0] else ()))
    check_sides(labels, sides, listing.development.classes, units)
    return Assignment(listing, stores, rows, copies, groups, units)


def _first_of_each_set(units: Units, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first usable row of each set of copies, as copies are no further images; all rows where groups count."""
    rows = np.flatnonzero(usable)
    return rows if units.grouped else rows[first_of_each(units.sets[rows])]


def _shares(config: DataConfig, listing: Listing) -> tuple[float, float]:
    """The shares of the test and the validation split that are to be cut; 0 for a split that is given."""
    has_test = listing.test is not None or TEST in listing.roles
    return 0.0 if has_test else config.test_fraction, 0.0 if VAL in listing.roles else config.val_share


def _listed(config: DataConfig) -> Listing:
    return _list_once(replace(config, train_on_val=False).without_folds())


@lru_cache(maxsize=1)
def _list_once(config: DataConfig) -> Listing:
    """List the data once per process: all its trials see the same files and rows, even if the folder changes."""
    listing = _list_checked(config)
    if config.fingerprint and listing.fingerprint() != config.fingerprint:
        raise DataError(
            f"the photos in {config.data} have changed since the study began; restore them, then resume the study"
        )
    return listing


def _list_checked(config: DataConfig) -> Listing:
    listing = list_data(config)
    labels = [label for label, role in zip(listing.development.labels, listing.roles, strict=True) if role != TEST]
    check_splittable(listing, labels, _shares(config, listing))
    if config.folds:
        groups = groups_of(listing, config.group_by)
        check_listed_foldable(listing, _class_folders(listing), groups, config.folds, _shares(config, listing)[0])
    return listing


def _class_folders(listing: Listing) -> list[str]:
    return [str(listing.development.root / name) for name in listing.development.classes]


def _open(config: DataConfig, listing: Listing) -> list[ImageStore]:
    cache_dir = Path(config.cache_dir)
    return [open_stores(part, [form_of(config)], cache_dir, config.max_bad_fraction)[0] for part in listing.parts]
