"""The splits of a data set as arrays: training, validation (a stratified part of the training folder), test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from inat.config.trial import DataConfig
from inat.constants import DIGITS, SKIPPED_CSV
from inat.data import digits
from inat.data.folds import check_foldable, fold_rows
from inat.data.image_folder import ImageFiles, check_splittable, list_train_and_test
from inat.data.image_store import ImageStore, open_stores
from inat.data.store import state_name
from inat.errors import DataError

# Fixed, so that all trials of all studies of the same images are validated on the same images.
SPLIT_SEED = 0
DIGITS_TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Crops:
    """Larger images (N, S, S, 3) uint8 to cut augmented crops from, and width / height (N,) of the originals."""

    images: NDArray[np.uint8]
    aspects: NDArray[np.float32]


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
    """

    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    state: str = DIGITS
    skipped: int = 0
    skipped_lists: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What a study records about its data; ``images`` counts the training images, including validation images."""

    fingerprint: str
    classes: tuple[str, ...]
    images: int


def inspect_data(config: DataConfig) -> DataSummary:
    """Check and summarise the data without decoding it; DataError if it cannot be trained on."""
    if config.data == DIGITS:
        return DataSummary(f"scikit-learn {DIGITS}", digits.CLASSES, int((1 - DIGITS_TEST_SHARE) * digits.COUNT))
    return summarise(*_list_checked(config))


def summarise(train: ImageFiles, test: ImageFiles) -> DataSummary:
    """The summary of a class-folder tree, given the files of its two splits."""
    return DataSummary(f"{train.fingerprint()[:32]}{test.fingerprint()[:32]}", train.classes, len(train.files))


def load_splits(config: DataConfig) -> Splits:
    """The splits of ``config.data`` at ``config.image_size`` px; later trials of this process get the same arrays.

    The arrays are also the same with and without augmentation, so that a device never holds them twice.
    """
    plain = config.without_augmentation()
    if not config.use_augmentation:
        return _plain_splits(plain)
    crops = _crops(plain)  # first: it decodes the images once for both sizes
    splits = _plain_splits(plain)
    return replace(splits, train=replace(splits.train, crops=crops))


@lru_cache(maxsize=1)
def _plain_splits(config: DataConfig) -> Splits:
    return _split_digits(config) if config.data == DIGITS else _split_folder(config)


@lru_cache(maxsize=1)
def _crops(config: DataConfig) -> Crops:
    if config.data == DIGITS:
        # A scan has 8x8 pixels, which any size shows in full, so larger copies would add nothing.
        images = _plain_splits(config).train.images
        return Crops(images, np.ones(len(images), np.float32))
    train, _ = _listed_tree(config.without_folds())
    _, large = _open(config, train, config.image_size, config.crop_size)
    return Crops(large.images, large.aspects)


def list_test_images(config: DataConfig) -> list[str]:
    """The name of each image of the test split, in order: its file below the folder, or the number of its scan."""
    rows = load_splits(config).test.rows
    if config.data == DIGITS:
        return [f"scan {row}" for row in rows]
    _, files = _listed_tree(replace(config, use_augmentation=False).without_folds())
    return [f"{files.root.name}/{files.paths[row]}" for row in rows]


def _split_digits(config: DataConfig) -> Splits:
    images, labels = digits.load(config.image_size)
    rest, test = _stratified(np.arange(len(labels)), labels, DIGITS_TEST_SHARE)
    check_foldable(labels[rest].tolist(), digits.CLASSES, config.folds)
    train, val = _train_and_val(config, rest, labels)
    train_split, val_split, test_split = (Split(images, labels, rows) for rows in (train, val, test))
    return Splits(digits.CLASSES, train_split, val_split, test_split)


def _split_folder(config: DataConfig) -> Splits:
    train_files, test_files = _listed_tree(config.without_folds())
    (store,) = _open(config, train_files, config.image_size)
    (test_store,) = _open(config, test_files, config.image_size)
    _check_splittable(config, train_files, store.labels[store.rows].tolist())
    train, val = _train_and_val(config, store.rows, store.labels)
    with_skipped = [s for s in (store, test_store) if s.skipped]
    return Splits(
        train_files.classes,
        train=Split(store.images, store.labels, train),
        val=Split(store.images, store.labels, val),
        test=Split(test_store.images, test_store.labels, test_store.rows),
        state=state_name(store.directory),
        skipped=sum(s.skipped for s in with_skipped),
        skipped_lists=tuple(s.directory / SKIPPED_CSV for s in with_skipped),
    )


@lru_cache(maxsize=1)
def _listed_tree(config: DataConfig) -> tuple[ImageFiles, ImageFiles]:
    """List the tree once per process: all its trials see the same files and rows, even if the tree changes.

    ``config`` is one without folds, so that it is the same for all of them.
    """
    train, test = _list_checked(config)
    if config.fingerprint and summarise(train, test).fingerprint != config.fingerprint:
        raise DataError(
            f"the photos in {config.data} have changed since the study began; restore them, then resume the study"
        )
    return train, test


def _list_checked(config: DataConfig) -> tuple[ImageFiles, ImageFiles]:
    train, test = list_train_and_test(Path(config.data))
    _check_splittable(config, train, train.labels)
    return train, test


def _check_splittable(config: DataConfig, files: ImageFiles, labels: Sequence[int]) -> None:
    check_splittable(labels, files.classes, files.root, config.val_share)
    check_foldable(labels, [str(files.root / name) for name in files.classes], config.folds)


def _open(config: DataConfig, files: ImageFiles, *sizes: int) -> list[ImageStore]:
    return open_stores(files, sizes, Path(config.cache_dir), config.max_bad_fraction)


def _train_and_val(
    config: DataConfig, rows: NDArray[np.int64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if config.folds:
        train, val = fold_rows(rows, labels, config.folds, config.fold, config.repeat)
    else:
        train, val = _stratified(rows, labels, config.val_share)
    return (rows if config.train_on_val else train), val


def _stratified(
    rows: NDArray[np.int64], labels: NDArray[np.int64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split ``rows`` into the rest and a stratified ``share``; both are sorted, so that reads are sequential."""
    rest, cut = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=SPLIT_SEED)
    return np.sort(rest), np.sort(cut)
