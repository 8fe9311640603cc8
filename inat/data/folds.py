"""Cut the development images, training and validation, into folds: each fold is validated on once."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from inat.constants import TEST
from inat.data.image_files import Listing
from inat.data.split_rows import SplitRows, Units, first_of_each
from inat.errors import DataError

FOLD_SEED = 0  # fixed, so that all trials of all studies of the same images have the same folds
Rows = NDArray[np.int64]


def fold_rows(rows: SplitRows, labels: Rows, units: Units, folds: int, repeat: int = 0) -> list[SplitRows]:
    """The splits of each fold: the development rows are cut anew, and the test split stays.

    ``labels`` and ``units`` are of all images. A validation split that is given is not used: rows beside it are
    development rows like others.
    """
    nothing = np.zeros(0, np.int64)
    return [
        replace(rows, train=train, val=val, beside_val=nothing)
        for train, val in cut_folds(rows.development, labels, units, folds, repeat)
    ]


def cut_folds(rows: Rows, labels: Rows, units: Units, folds: int, repeat: int = 0) -> list[tuple[Rows, Rows]]:
    """Split ``rows`` into those to train on and a stratified part to validate on, for each fold.

    The parts of one ``repeat`` do not overlap and have all rows together; another repeat cuts them anew. No set of
    images is divided: sets of copies are cut by their first image, as in ``split_rows.cut``, and groups by a
    ``StratifiedGroupKFold``. All results are sorted, so that reads are sequential.
    """
    rows = np.sort(rows)
    sets = units.sets[rows]
    if units.grouped:
        inside = _group_folds(labels[rows], sets, folds, repeat)
    else:
        heads = first_of_each(sets)
        splitter = StratifiedKFold(folds, shuffle=True, random_state=FOLD_SEED + repeat)
        parts = [part for _, part in splitter.split(heads, labels[rows][heads])]
        inside = [np.isin(sets, sets[heads[part]]) for part in parts]
    return [(rows[~part], rows[part]) for part in inside]


def _group_folds(labels: Rows, sets: Rows, folds: int, repeat: int) -> list[NDArray[np.bool_]]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=FOLD_SEED + repeat)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class in fewer groups than folds: checked by the caller
        parts = [part for _, part in splitter.split(labels, labels, sets)]
    for number, part in enumerate(parts, start=1):
        if not len(part):
            raise DataError(f"fold {number} of {folds} would have no photo, as there are too few groups; lower --folds")
    inside = np.zeros((folds, len(labels)), np.bool_)
    for mask, part in zip(inside, parts, strict=True):
        mask[part] = True
    return list(inside)


def check_foldable(
    labels: Sequence[int], names: Sequence[str], folds: int, kind: str = "photos", keeps: float = 1.0
) -> None:
    """Raise DataError if the smallest class, of those with these ``names``, is smaller than the number of folds.

    ``keeps`` is the share that a test split, which is cut first, leaves to be folded.
    """
    counts = Counter(labels)
    smallest = min(range(len(names)), key=lambda index: counts[index])
    count = math.ceil(keeps * counts[smallest])  # the most that a stratified cut leaves
    if count < folds:
        raise DataError(
            f"class {names[smallest]} has {count} {kind}, fewer than --folds {folds}; add photos or lower --folds"
        )


def check_listed_foldable(
    listing: Listing, names: Sequence[str], groups: Sequence[str], folds: int, test_share: float
) -> None:
    """Raise DataError if a class has too few images for ``folds``, however many are copies, which is known later.

    ``groups`` of all images, or () without groups. A ``test_share`` above 0 is cut first.
    """
    roles = listing.roles
    labels = [label for label, role in zip(listing.development.labels, roles, strict=True) if role != TEST]
    if not groups:
        kind = "photos without the test split" if test_share else "photos"
        return check_foldable(labels, names, folds, kind, keeps=1 - test_share)
    kept = [group for group, role in zip(groups, roles, strict=False) if role != TEST]  # a test folder comes last
    in_class = [label for _, label in set(zip(kept, labels, strict=True))]
    return check_foldable(in_class, names, folds, "groups of photos")


def check_units_foldable(rows: Rows, labels: Rows, units: Units, names: Sequence[str], folds: int) -> None:
    """The same for these ``rows``: copies count once, in the class of the first, and groups once in each class."""
    if units.grouped:
        pairs = np.unique(np.stack([units.sets[rows], labels[rows]]), axis=1)
        check_foldable(pairs[1].tolist(), names, folds, "groups of photos")
    else:
        heads = rows[first_of_each(units.sets[rows])]
        check_foldable(
            labels[heads].tolist(), names, folds, "photos" if len(heads) == len(rows) else "different photos"
        )
