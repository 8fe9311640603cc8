"""A folder of links to a part of the training photos of a data set, for learning curves and quick benchmarks."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from inat.constants import TEST, TRAIN, VAL


def link_some_photos(source: Path, count: int, target: Path) -> Path:
    """Link ``count`` training photos of ``source``, and its test photos, into ``target``; returns ``target``.

    ``count`` is divided among the classes like the photos of ``source``, so that only the number of photos changes.
    Of each class, photos are taken at equal distances in the order of their names: the first ones by name may all show
    the same species, for example. Exits with a sentence if ``source`` has fewer photos.
    """
    from inat.data.image_folder import class_folders, list_images

    photos = {name: list_images(source / TRAIN / name) for name in class_folders(source / TRAIN)}
    for name, number in zip(photos, shares([len(names) for names in photos.values()], count), strict=True):
        for photo in spread(photos[name], number):
            link = target / TRAIN / name / photo
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((source / TRAIN / name / photo).resolve())
    for part in (VAL, TEST):
        if (source / part).is_dir():
            (target / part).symlink_to((source / part).resolve())
    return target


def spread(names: Sequence[str], count: int) -> list[str]:
    """``count`` of the names, at equal distances."""
    return [names[index * len(names) // count] for index in range(count)]


def shares(sizes: list[int], count: int) -> list[int]:
    """Divide ``count`` in the proportion of ``sizes``; the parts add up to ``count``."""
    total = sum(sizes)
    if not 0 < count <= total:
        sys.exit(f"error: --photos must be in 1..{total}, the number of training photos; got {count}")
    ends = [round(count * end / total) for end in itertools.accumulate(sizes, initial=0)]
    return [end - start for start, end in itertools.pairwise(ends)]
