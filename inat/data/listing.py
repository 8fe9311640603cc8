"""The images that ``--data`` names, in whichever layout they are."""

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from analysis.wording import counted
from inat.config.trial import DataConfig
from inat.constants import TORCHVISION
from inat.data.image_files import Listing
from inat.data.label_table import check_present, find_metadata, list_table
from inat.data.layouts import list_folders
from inat.errors import DataError


def list_data(config: DataConfig) -> Listing:
    """List the images of a folder or of a data set of torchvision; DataError if ``config.data`` names neither."""
    root = Path(config.data)
    if config.data.startswith(TORCHVISION):
        from inat.data.torchvision_data import list_torchvision

        return list_torchvision(config.data, Path(config.root))
    listing = list_table(root, Path(config.labels)) if config.labels else find_metadata(root)
    if listing is None:
        listing = list_folders(root)
    else:
        check_present(listing, config.labels or f"the metadata in {root}", config.max_bad_fraction)
    return replace(listing, notes=(*listing.notes, *_similar_names(listing.development.classes)))


def _similar_names(classes: Sequence[str]) -> Iterator[str]:
    """A sentence for each two classes whose names differ only in case and blanks: perhaps they are one."""
    first: dict[str, str] = {}
    for name in classes:
        same = first.setdefault("".join(name.casefold().split()), name)
        if same != name:
            yield f"the classes {same!r} and {name!r} differ only in case or blanks; are they one?"


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
    groups = [match and match[1 if match.re.groups else 0] for match in matches]
    if not any(groups):
        how = "only empty parts of the paths" if any(matches) else "no path"
        raise DataError(f"--group-by {pattern!r} matches {how}; the first is {names[0]!r}")
    return tuple(group or f"\0{row}" for row, group in enumerate(groups))


def check_splittable(
    listing: Listing, labels: Sequence[int], shares: tuple[float, float], without_copies: bool = False
) -> None:
    """Raise DataError if these ``labels`` of development images are too few to cut stratified splits out of them.

    ``shares`` are those of the test and the validation split; 0 for a split that is not cut. ``without_copies`` says
    that copies are not among the ``labels``.
    """
    files, counts = listing.development, Counter(labels)
    cuts, least = sum(share > 0 for share in shares), 1 + sum(share > 0 for share in shares)
    if len(files.classes) < 2:
        raise DataError(
            f"{files.root} has the single class {files.classes[0]!r}; a classifier needs at least 2 classes"
        )
    in_folders = files.complete or listing.test is not None
    purposes = ", ".join(["one to train", "one to validate", "one to test"][: 1 + cuts])
    for index, name in enumerate(files.classes):
        if counts[index] < least:
            photos = counted(counts[index], "different photo" if without_copies else "photo")
            close = difflib.get_close_matches(name, [other for other in files.classes if other != name], 1, 0.8)
            hint = f", or did you mean {close[0]!r}?" if close else ""
            raise DataError(
                f"class {files.root / name if in_folders else repr(name)} has {photos}, and a class "
                f"needs at least {least} ({purposes}); add photos or remove the class{hint}"
            )
    rest, after = len(labels), ""
    for split, share in zip(("test", "validation"), shares, strict=True):
        if share and round(share * rest) < len(files.classes):
            raise DataError(
                f"{files.root} has {rest} photos{after}, so the {split} split ({share:.0%}) would have "
                f"{round(share * rest)}, fewer than the {len(files.classes)} classes; add photos"
            )
        if share:
            rest, after = rest - round(share * rest), f" without the {split} split (--test-fraction {share:g})"


def named_group(name: str) -> str:
    """The name of a group; "" for an image that is in no group, and is one of its own."""
    return "" if name.startswith("\0") else name
