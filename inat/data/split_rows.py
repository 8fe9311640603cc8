"""Cut rows of images into two parts: stratified by class, with no set of images on two sides."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from inat.constants import TEST, TRAIN, VAL
from inat.errors import DataError

# Fixed, so that all trials of all studies of the same images are validated and tested on the same images.
SPLIT_SEED = 0
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Units:
    """What must not be divided: images (N,) of one number in ``sets`` stay on one side of a cut.

    ``grouped`` says that the user's groups are among the sets; sets of copies alone are small.
    """

    sets: Rows
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class SplitRows:
    """Rows of each split, sorted.

    Development rows whose set has an image in the test split, or in the validation split, are ``beside`` it.
    """

    train: Rows
    val: Rows
    test: Rows
    beside_test: Rows
    beside_val: Rows

    @property
    def left_out(self) -> Rows:
        """Development rows that are in no split."""
        return np.sort(np.concatenate([self.beside_test, self.beside_val]))

    @property
    def development(self) -> Rows:
        """All rows that may be trained or validated on: those that are not beside the test split."""
        return np.sort(np.concatenate([self.train, self.val, self.beside_val]))


def first_of_each(sets: Rows) -> Rows:
    """Where the first image of each set is, ascending; without copies, that is everywhere."""
    return np.sort(np.unique(sets, return_index=True)[1])


def cut(rows: Rows, labels: Rows, share: float, units: Units) -> tuple[Rows, Rows]:
    """Cut ``rows`` into the rest and a stratified ``share``; both are sorted, so that reads are sequential.

    Without sets of several images it is scikit-learn's ``train_test_split``. Sets of copies are cut by their first
    image; groups by the fold of a ``StratifiedGroupKFold`` whose classes are closest to ``share``.
    """
    if not len(rows):
        raise DataError(
            "no photo is left to train on: all are copies of test photos or in a group with them; check --group-by, or "
            "pass --keep-duplicates"
        )
    try:
        return (
            _cut_groups(rows, labels, share, units.sets) if units.grouped else _cut_copies(rows, labels, share, units)
        )
    except ValueError as error:  # of scikit-learn
        raise DataError(
            f"the {len(rows)} photos that are no copies of test photos cannot be cut ({error}); add photos, or pass "
            "--keep-duplicates"
        ) from error


def _cut_copies(rows: Rows, labels: Rows, share: float, units: Units) -> tuple[Rows, Rows]:
    first = first_of_each(units.sets[rows])
    if len(first) == len(rows):
        rest, part = train_test_split(rows, test_size=share, stratify=labels[rows], random_state=SPLIT_SEED)
    else:
        heads = rows[first]
        _, part = train_test_split(heads, test_size=share, stratify=labels[heads], random_state=SPLIT_SEED)
        inside = np.isin(units.sets[rows], units.sets[part])
        rest, part = rows[~inside], rows[inside]
    return np.sort(rest), np.sort(part)


def _cut_groups(rows: Rows, labels: Rows, share: float, sets: Rows) -> tuple[Rows, Rows]:
    folds = min(max(2, round(1 / share)), len(np.unique(sets[rows])))
    if folds < 2:
        raise DataError("all photos belong to one group, so no split can be cut; check --group-by or the group column")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SPLIT_SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class in fewer groups than folds: checked by the caller
        parts = [part for _, part in splitter.split(rows, labels[rows], sets[rows])]
    best = min(parts, key=lambda part: imbalance(labels[rows], labels[rows[part]], share))
    inside = np.zeros(len(rows), np.bool_)
    inside[best] = True
    return rows[~inside], rows[inside]


def imbalance(labels: Rows, part: Rows, share: float) -> float:
    """The largest difference between ``share`` and the share of a class of ``labels`` that is in ``part``.

    A class that is on one side only counts as infinitely unbalanced.
    """
    counts = np.bincount(labels)
    inside = np.bincount(part, minlength=len(counts))
    present = counts > 0
    if (inside[present] == 0).any() or (inside[present] == counts[present]).any():
        return float("inf")
    return float(np.abs(inside[present] / counts[present] - share).max())


def check_sides(labels: Rows, sides: Sequence[tuple[str, Rows]], classes: Sequence[str], units: Units) -> None:
    """Raise DataError if a class is in none of the images of a side; groups can be so large that no cut is right."""
    for side, rows in sides:
        missing = [index for index in range(len(classes)) if not (labels[rows] == index).any()]
        if missing:
            own = np.flatnonzero(labels == missing[0])
            sets = len(np.unique(units.sets[own]))
            if sets == len(own):
                raise DataError(
                    f"class {classes[missing[0]]!r} has no photo among the {len(rows)} of the {side} split; add photos "
                    "of this class, or give the splits in a column of --labels"
                )
            raise DataError(
                f"class {classes[missing[0]]!r} has no photo in the {side} split: its {len(own)} photos are in {sets} "
                f"{'group' if sets == 1 else 'groups'} or sets of copies, which are never divided; use smaller groups "
                "with --group-by, or give the splits in a column of --labels"
            )


def assign(
    labels: Rows, usable: NDArray[np.bool_], roles: Sequence[str], units: Units, shares: tuple[float, float]
) -> SplitRows:
    """The rows (of N images) of each split.

    ``roles`` (N,) are as in ``Listing``, with ``test`` for the images of a test folder; a missing test or validation
    split is cut with the ``shares`` (test, validation). Images whose set has an image in the test split are left out of
    training and validation, and those whose set has one in the validation split out of training: given splits stay as
    they are. Unreadable images are in no split.
    """
    role = np.array(roles)
    everything = np.flatnonzero(usable)
    test, rest = everything[role[everything] == TEST], everything[role[everything] != TEST]
    if not (role == TEST).any():
        rest, test = cut(rest, labels, shares[0], units)
    rest, beside_test = _without(rest, test, units)
    val, train = rest[role[rest] == VAL], rest[role[rest] != VAL]
    if not (role == VAL).any():
        train, val = cut(rest, labels, shares[1], units)
    train, beside_val = _without(train, val, units)
    return SplitRows(train, val, test, beside_test, beside_val)


def _without(rows: Rows, others: Rows, units: Units) -> tuple[Rows, Rows]:
    """``rows`` without those whose set has an image among ``others``, and those."""
    beside = np.isin(units.sets[rows], units.sets[others])
    return rows[~beside], rows[beside]


def split_names(count: int, rows: SplitRows) -> list[str]:
    """The name of the split of each of ``count`` images; "" for images in none."""
    names = [""] * count
    for name, part in ((TRAIN, rows.train), (VAL, rows.val), (TEST, rows.test)):
        for row in part.tolist():
            names[row] = name
    return names
