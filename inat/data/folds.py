"""Cut the development images, training and validation, into folds: each fold is validated on once."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from inat.errors import DataError

FOLD_SEED = 0  # fixed, so that all trials of all studies of the same images have the same folds


def fold_rows(
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    folds: int,
    fold: int,
    repeat: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split ``rows`` into those to train on and, for ``fold`` in 0..folds-1, the stratified part to validate on.

    The parts of one ``repeat`` do not overlap and have all rows together; another repeat cuts them anew. ``labels`` and
    ``groups`` are of all images, so that ``labels[rows]`` are those of the rows; the images of a group stay together.
    Both results are sorted, so that reads are sequential.
    """
    rows = np.sort(rows)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=FOLD_SEED + repeat)
    parts = splitter.split(rows, labels[rows], None if groups is None else groups[rows])
    train, val = next(islice(parts, fold, None))
    if not len(val):
        raise DataError(f"fold {fold + 1} of {folds} would have no photo, as there are too few groups; lower --folds")
    return rows[train], rows[val]


def check_foldable(labels: Sequence[int], names: Sequence[str], folds: int) -> None:
    """Raise DataError if the smallest class, of those with these ``names``, is smaller than the number of folds."""
    counts = Counter(labels)
    smallest = min(range(len(names)), key=lambda index: counts[index])
    if counts[smallest] < folds:
        raise DataError(
            f"class {names[smallest]} has {counts[smallest]} photos, fewer than --folds {folds}; add photos or lower "
            "--folds"
        )
