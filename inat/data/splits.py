"""The three splits of a data set as arrays: training, validation (cut out of it, stratified) and held-out test."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from inat.config import DataConfig
from inat.constants import DIGITS
from inat.data import digits
from inat.data.folder import PhotoFolder, check_splittable, open_tree
from inat.data.store import open_store

# Fixed, so that all trials of all studies of the same photographs are validated on the same ones.
SPLIT_SEED = 0
DIGITS_TEST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Split:
    """Images ``images[rows]`` (H, W, 3) uint8 with ``labels[rows]``; ``images`` may be a memory map."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Splits:
    """A data set ready for training; ``skipped`` photographs could not be read."""

    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    skipped: int


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What a study records about its data."""

    fingerprint: str
    classes: tuple[str, ...]


def inspect_data(config: DataConfig) -> DataSummary:
    """Check the data without decoding it and summarise it; DataError if it cannot be trained on."""
    if config.data == DIGITS:
        return DataSummary(f"scikit-learn {DIGITS}", digits.CLASSES)
    train, test = open_tree(Path(config.data))
    check_splittable(train.labels, train.classes, train.root, config.val_share)
    return DataSummary(f"{train.fingerprint()[:32]}{test.fingerprint()[:32]}", train.classes)


def load_splits(config: DataConfig) -> Splits:
    """The splits of ``config.data`` at ``config.image_size`` px; kept in this process for its next trials."""
    return _load(replace(config, use_augmentation=False))  # which does not concern the stored images


@lru_cache(maxsize=2)
def _load(config: DataConfig) -> Splits:
    return _load_digits(config) if config.data == DIGITS else _load_folder(config)


def _load_digits(config: DataConfig) -> Splits:
    images, labels = digits.load(config.image_size)
    rest, test = _stratified(np.arange(len(labels)), labels, DIGITS_TEST_SHARE)
    train, val = _stratified(rest, labels, config.val_share)
    train_split, val_split, test_split = (Split(images, labels, rows) for rows in (train, val, test))
    return Splits(digits.CLASSES, train_split, val_split, test_split, skipped=0)


def _load_folder(config: DataConfig) -> Splits:
    def store(photos: PhotoFolder) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
        opened = open_store(photos, config.image_size, Path(config.cache_dir), config.max_bad_fraction)
        return opened.images, opened.labels, opened.skipped

    train_photos, test_photos = open_tree(Path(config.data))
    check_splittable(train_photos.labels, train_photos.classes, train_photos.root, config.val_share)
    images, labels, skipped = store(train_photos)
    test_images, test_labels, test_skipped = store(test_photos)
    check_splittable(labels.tolist(), train_photos.classes, train_photos.root, config.val_share)
    train, val = _stratified(np.arange(len(labels)), labels, config.val_share)
    return Splits(
        train_photos.classes,
        train=Split(images, labels, train),
        val=Split(images, labels, val),
        test=Split(test_images, test_labels, np.arange(len(test_labels))),
        skipped=skipped + test_skipped,
    )


def _stratified(
    rows: NDArray[np.int64], labels: NDArray[np.int64], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut ``share`` out of ``rows`` with every class in proportion; both parts sorted, for neighbouring reads."""
    rest, cut = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=SPLIT_SEED)
    return np.sort(rest), np.sort(cut)
