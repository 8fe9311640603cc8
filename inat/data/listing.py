"""The images that ``--data`` names, in whichever layout they are."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from inat.config.trial import DataConfig
from inat.constants import TORCHVISION
from inat.data.image_files import Listing
from inat.data.label_table import find_metadata, list_table
from inat.data.layouts import list_folders
from inat.errors import DataError


def list_data(config: DataConfig) -> Listing:
    """List the images of a folder or of a data set of torchvision; DataError if ``config.data`` names neither."""
    root = Path(config.data)
    if config.data.startswith(TORCHVISION):
        from inat.data.torchvision_data import list_torchvision

        return list_torchvision(config.data, Path(config.root))
    if config.labels:
        return list_table(root, Path(config.labels))
    return find_metadata(root) or list_folders(root)


def download(config: DataConfig) -> None:
    """Let torchvision download the data set that ``config.data`` names; nothing for other data."""
    if config.data.startswith(TORCHVISION):
        from inat.data.torchvision_data import list_torchvision

        list_torchvision(config.data, Path(config.root), download=True)


def groups_of(listing: Listing, pattern: str) -> tuple[str, ...]:
    """The group of each image: of the table, or what ``pattern`` finds in its path; () without groups.

    A group is the first bracketed part of the match, or the whole match. An image without a match or with an empty cell
    is a group of its own. DataError if no image matches.
    """
    if not pattern:
        return tuple(group or f"\0{row}" for row, group in enumerate(listing.groups))
    names = [os.fsencode(name).decode(errors="replace") for name in listing.names]
    matches = [re.search(pattern, name) for name in names]
    if not any(matches):
        raise DataError(f"--group-by {pattern!r} matches no path; the first is {names[0]!r}")
    return tuple(
        f"\0{row}" if match is None else match[1 if match.re.groups else 0] or f"\0{row}"
        for row, match in enumerate(matches)
    )


def check_splittable(listing: Listing, labels: Sequence[int], shares: tuple[float, float]) -> None:
    """Raise DataError if these ``labels`` of development images are too few to cut stratified splits out of them.

    ``shares`` are those of the test and the validation split; 0 for a split that is not cut.
    """
    files, counts = listing.development, Counter(labels)
    cuts, least = sum(share > 0 for share in shares), 1 + sum(share > 0 for share in shares)
    if len(files.classes) < 2:
        raise DataError(
            f"{files.root} has the single class {files.classes[0]!r}; a classifier needs at least 2 classes"
        )
    purposes = ", ".join(["one to train", "one to validate", "one to test"][: 1 + cuts])
    for index, name in enumerate(files.classes):
        if counts[index] < least:
            photos = "photo" if counts[index] == 1 else "photos"
            raise DataError(
                f"class {files.root / name} has {counts[index]} {photos}, and a class needs at least {least} "
                f"({purposes}); add photos or remove the class"
            )
    rest = len(labels)
    for split, share in zip(("test", "validation"), shares, strict=True):
        if share and round(share * rest) < len(files.classes):
            raise DataError(
                f"{files.root} has {rest} photos, so the {split} split ({share:.0%}) would have {round(share * rest)}, "
                f"fewer than the {len(files.classes)} classes; add photos"
            )
        rest -= round(share * rest)


def named_group(name: str) -> str:
    """The name of a group; "" for an image that is in no group, and is one of its own."""
    return "" if name.startswith("\0") else name
