"""A folder of links to the first training photos of a data set, for learning curves and quick benchmarks."""

import itertools
import sys
from pathlib import Path

from inat.constants import TEST, TRAIN, VAL


def link_first_photos(source: Path, count: int, target: Path) -> Path:
    """Link ``count`` training photos of ``source``, and its test photos, into ``target``; returns ``target``.

    ``count`` is divided among the classes like the photos of ``source``, so that only the number of photos changes.
    Of each class, the first photos by name are taken. Exits with a sentence if ``source`` has fewer photos.
    """
    from inat.data.image_folder import class_folders, list_images

    photos = {name: list_images(source / TRAIN / name) for name in class_folders(source / TRAIN)}
    for name, number in zip(photos, shares([len(names) for names in photos.values()], count), strict=True):
        for photo in photos[name][:number]:
            link = target / TRAIN / name / photo
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((source / TRAIN / name / photo).resolve())
    for part in (VAL, TEST):
        if (source / part).is_dir():
            (target / part).symlink_to((source / part).resolve())
    return target


def shares(sizes: list[int], count: int) -> list[int]:
    """Divide ``count`` in the proportion of ``sizes``; the parts add up to ``count``."""
    total = sum(sizes)
    if not 0 < count <= total:
        sys.exit(f"error: --photos must be in 1..{total}, the number of training photos; got {count}")
    ends = [round(count * end / total) for end in itertools.accumulate(sizes, initial=0)]
    return [end - start for start, end in itertools.pairwise(ends)]
