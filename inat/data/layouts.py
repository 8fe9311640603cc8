"""The layouts of folders of images: class folders in split folders, or class folders alone."""

import difflib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from inat.constants import DIGITS, TEST, TRAIN, VAL
from inat.data.image_files import ANY, ImageFiles, Listing
from inat.data.image_folder import as_data_error, check_listable, class_folders, has_loose_images, list_split
from inat.errors import DataError

# Names of split folders, in any case. The first of each is the one of nature_12K.
SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    TRAIN: (TRAIN, "training"),
    VAL: (VAL, "valid", "validation"),
    TEST: (TEST, "testing"),
}
EXPECTED = f"{TRAIN}/<class>/*, or <class>/* without split folders"


def split_of(folder: str) -> str:
    """The split that a folder of this name holds; "" if it is no split folder."""
    return next((split for split, names in SPLIT_FOLDERS.items() if folder.lower() in names), "")


def list_folders(root: Path) -> Listing:
    """List the images of ``root``.

    With split folders (see SPLIT_FOLDERS), ``train/<class>/*`` trains and ``test/<class>/*`` is held out; ``val`` is
    the validation split beside a test split, else the held-out one, as in nature_12K. Without split folders, or with
    ``train`` alone, the class folders hold all images, and cuts make the splits. Raises DataError for another layout.
    """
    check_exists(root)
    found = find_split_folders(root)
    return replace(_list_splits(root, found), notes=_beside(root)) if found else _list_flat(root, root)


def _beside(root: Path) -> tuple[str, ...]:
    """Sentences about photos and folders beside the split folders, which nobody may believe to be used."""
    names = [name for name in class_folders(root) if not split_of(name)]
    notes = [f"no photos are used of {_some(names)}, beside the split folders"] if names else []
    return (*notes, *([f"the photos in {root} itself are not used"] if has_loose_images(root) else []))


def _list_splits(root: Path, found: Mapping[str, Path]) -> Listing:
    if TRAIN not in found:
        names = " and ".join(repr(path.name) for path in found.values())
        raise DataError(f"no '{TRAIN}' folder in {root}, only {names}; expected {EXPECTED}")
    if set(found) == {TRAIN}:
        return _list_flat(root, found[TRAIN])
    listed = {split: list_split(folder, folder.name) for split, folder in found.items()}
    _check_same_classes(list(listed.values()))
    if len(found) == len(SPLIT_FOLDERS):
        return _list_three(root, listed)
    (held_out,) = listed.keys() - {TRAIN}
    development, test = listed[TRAIN], listed[held_out]
    meaning = f"{test.prefix}/ is the held-out test split; validation is cut from {development.prefix}/"
    return Listing(development, test, (ANY,) * len(development.files), meaning)


def check_exists(root: Path) -> None:
    """Raise DataError unless ``root`` is a folder that can be listed."""
    if os.path.isdir(root):
        check_listable(root)
        return
    with as_data_error(), suppress(FileNotFoundError, NotADirectoryError):
        os.stat(root)  # a folder above may not be entered
    what = "is not a folder" if os.path.exists(root) else "does not exist"
    raise DataError(
        f"{root} {what}; pass --data FOLDER with train/<class>/* and val/<class>/*, or <class>/* alone, or --data "
        f"{DIGITS} for the built-in scans"
    )


def find_split_folders(root: Path) -> dict[str, Path]:
    """The split folders in ``root`` by split; DataError if a split has two, such as ``train`` and ``Train``."""
    found: dict[str, Path] = {}
    for name in class_folders(root):
        split = split_of(name)
        if split in found:
            raise DataError(
                f"{root} has {found[split].name!r} and {name!r}, which both name the {split} split; rename or move one"
            )
        if split:
            found[split] = root / name
    return {split: found[split] for split in SPLIT_FOLDERS if split in found}


def _list_flat(root: Path, folder: Path) -> Listing:
    names = class_folders(folder)
    nested = [name for name in names if find_split_folders(folder / name)]
    if nested or (root.name and split_of(root.name) and find_split_folders(root.parent).keys() - {split_of(root.name)}):
        place = folder / nested[0] if nested else root.parent
        which = "" if nested else ", the folder that contains it"
        raise DataError(f"no '{TRAIN}' folder in {root}; expected {EXPECTED}; did you mean --data {place}{which}?")
    if len(names) == 1 and len(class_folders(folder / names[0])) > 1:
        raise DataError(
            f"{folder} has the single folder {names[0]!r}, which has folders itself; did you mean --data "
            f"{folder / names[0]}?"
        )
    siblings = class_folders(root.parent) if not names and root.name else []
    if len(siblings) > 1 and has_loose_images(folder):
        raise DataError(
            f"{folder} has photos and no class folders; if it is the folder of a class, did you mean --data "
            f"{root.parent}?"
        )
    files = list_split(folder, "" if folder == root else folder.name)
    source = "the class folders" if folder == root else f"{folder.name}/"
    meaning = f"the test split is cut from {source}, then validation from the rest"
    return Listing(files, None, (ANY,) * len(files.files), meaning)


def _list_three(root: Path, listed: Mapping[str, ImageFiles]) -> Listing:
    """Training and validation images become one list, so that a last training can use both."""
    train, val, test = (listed[split] for split in (TRAIN, VAL, TEST))
    both = ImageFiles(
        root,
        train.classes,
        tuple(file._replace(path=f"{part.prefix}/{file.path}") for part in (train, val) for file in part.files),
        train.labels + val.labels,
        tuple(file._replace(path=f"{part.prefix}/{file.path}") for part in (train, val) for file in part.unused),
    )
    roles = (TRAIN,) * len(train.files) + (VAL,) * len(val.files)
    meaning = f"{val.prefix}/ is the validation split, {test.prefix}/ the held-out test split"
    return Listing(both, test, roles, meaning)


def _check_same_classes(parts: Sequence[ImageFiles]) -> None:
    every = {name for part in parts for name in part.classes}
    lacking = {part.prefix: sorted(every - set(part.classes)) for part in parts}
    if not any(lacking.values()):
        return
    texts = []
    for part in parts:
        only = [name for name in part.classes if all(name not in other.classes for other in parts if other is not part)]
        if only:
            texts.append(f"only in {part.prefix}: {_some(only)}{_close_names(only, parts, part)}")
    if len(parts) > 2:
        texts += [f"not in {prefix}: {_some(names)}" for prefix, names in lacking.items() if names]
    folders = " and ".join(str(part.root) for part in parts)
    raise DataError(f"{folders} must have the same classes; {'; '.join(texts)}")


def _close_names(names: Sequence[str], parts: Sequence[ImageFiles], own: ImageFiles) -> str:
    """For the first of ``names`` with a similar name in another part: a question; two names may differ in case only."""
    for name in names:
        for part in parts:
            folded = {other.casefold(): other for other in part.classes if other not in own.classes}
            if part is not own and (close := difflib.get_close_matches(name.casefold(), folded, 1)):
                return f" (did you mean {folded[close[0]]!r}, as in {part.prefix}, for {name!r}?)"
    return ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
