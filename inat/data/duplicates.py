"""Find copies of images: the same pixels, or nearly the same picture, such as a smaller or recompressed one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from inat.data.thumbnails import SIDE, grey, perceptual_hashes

# Two images are near copies if their perceptual hashes differ in at most MAX_DISTANCE of 64 bits, and the brightness of
# their thumbnails correlates with at least MIN_CORRELATION. Of 2,814 photographs (Caltech-101) and 60,000 images of
# CIFAR-10, `benchmarks/duplicates.py` draws the pairs found: all of the 144 that were looked at, those of lowest
# correlation among them, show the same picture.
MAX_DISTANCE = 8
MIN_CORRELATION = 0.95
# A picture with less contrast, such as a blank page, resembles many others: it is a copy only of an equal thumbnail.
MIN_CONTRAST = 6.0
COMPARISONS_PER_CHUNK = 4_000_000  # 8 bytes each at the same time
CORRELATIONS_PER_CHUNK = 8192  # 8 kB each at the same time


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies among N images.

    ``sets`` (N,) is the number of the set that an image belongs to; images with one number are copies of each other,
    and an image without copy has a number of its own. ``pairs`` (P, 2) are the pairs that the sets are made of;
    ``exact`` (P,) says whether their thumbnails are equal. Of many images that all are alike, such as those of a fixed
    camera, only as many pairs are kept as join them.
    """

    sets: NDArray[np.int64]
    pairs: NDArray[np.int64]
    exact: NDArray[np.bool_]


def find_copies(thumbnails: NDArray[np.uint8], usable: NDArray[np.bool_]) -> Copies:
    """Find the copies among the images with these ``thumbnails`` (N, SIDE, SIDE, 3); only ``usable`` ones (N,) count.

    The memory needed is 8 kB per image and 200 MB, however many are copies.
    """
    rows = np.flatnonzero(usable)
    exact, first_of = _equal_pairs(thumbnails, rows)
    distinct = np.unique(first_of)
    near = _near_pairs(thumbnails, distinct) if len(distinct) > 1 else np.empty((0, 2), np.int64)
    pairs = np.concatenate([exact, near])
    sets = _components(len(thumbnails), pairs)
    return Copies(sets, pairs, np.arange(len(pairs)) < len(exact))


def no_copies(count: int) -> Copies:
    """The result for ``count`` images without copies."""
    return Copies(np.arange(count), np.empty((0, 2), np.int64), np.empty(0, np.bool_))


def join_sets(*sets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sets (N,) of the images that any of the given ``sets`` (N,) puts together, directly or over others."""
    count = len(sets[0])
    links = [np.stack([_first_of_each(numbers), np.arange(count)], axis=1) for numbers in sets]
    return _components(count, np.concatenate(links))


def _first_of_each(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each image (N,), the first image with the same number."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)


def _components(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    links = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _equal_pairs(thumbnails: NDArray[np.uint8], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of equal thumbnails, each of an image and the first one like it; and the first one for each row."""
    seen: dict[bytes, int] = {}
    first_of = np.array([seen.setdefault(thumbnails[row].tobytes(), row) for row in rows.tolist()], np.int64)
    copies = first_of != rows
    return np.stack([first_of[copies], rows[copies]], axis=1), first_of


def _near_pairs(thumbnails: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    pixels = grey(thumbnails[rows])
    hashes = perceptual_hashes(pixels)
    brightness = pixels.reshape(len(rows), SIDE * SIDE).astype(np.float32)
    brightness -= brightness.mean(axis=1, keepdims=True)
    contrast = brightness.std(axis=1)
    visible = np.flatnonzero(contrast >= MIN_CONTRAST)
    normed, rows = brightness[visible] / (contrast[visible, None] * SIDE), rows[visible]
    found = _correlated(normed, _similar_hashes(hashes[visible]))
    return np.asarray(rows[found], np.int64)


def _correlated(normed: NDArray[np.float32], chunks: Iterator[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Those of the pairs whose brightness ``normed`` (N, SIDE * SIDE) correlates.

    Pairs of images that earlier chunks have already joined are left out: of N photos of a fixed camera, nearly all
    pairs correlate.
    """
    joined, found = np.arange(len(normed)), [np.empty((0, 2), np.int64)]
    for many in chunks:
        for start in range(0, len(many), CORRELATIONS_PER_CHUNK):
            pairs = many[start : start + CORRELATIONS_PER_CHUNK]
            pairs = pairs[joined[pairs[:, 0]] != joined[pairs[:, 1]]]
            correlation = np.einsum("ij,ij->i", normed[pairs[:, 0]], normed[pairs[:, 1]])
            near = pairs[correlation >= MIN_CORRELATION]
            if len(near):
                found.append(near)
                joined = join_sets(joined, _components(len(normed), near))
    return np.concatenate(found)


def _similar_hashes(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Pairs (P, 2), first < second, whose hashes differ in at most MAX_DISTANCE bits, in chunks.

    Each hash is compared with each other one: 0.2 s for 10,000 images. An index would save little, as 8 of 64 bits are
    many.
    """
    block = max(1, COMPARISONS_PER_CHUNK // max(1, len(hashes)))
    for start in range(0, len(hashes), block):
        distances = np.bitwise_count(hashes[start : start + block, None] ^ hashes[None, start:])
        first, second = np.nonzero(distances <= MAX_DISTANCE)
        later = first < second
        yield np.stack([first[later], second[later]], axis=1) + start
