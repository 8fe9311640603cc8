"""Walk a folder of class folders: its images with their classes, and the files that are not used."""

import errno
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inat.data.file_kinds import is_image, some_suffixes, system_folder, why_unused
from inat.data.image_files import ImageFile, ImageFiles, UnusedFile
from inat.errors import DataError


def list_split(split: Path, prefix: str = "") -> ImageFiles:
    """List the images of the class folders in ``split``; DataError if there is no class, or a class without images.

    Two folders whose names differ only in their Unicode normalisation, as after a copy from macOS, are one class.
    """
    folders = class_folders(split)
    if not folders:
        raise DataError(f"{split} has no class folders; expected {split}/<class>/*{_loose_images_hint(split)}")
    classes = tuple(sorted({class_name(folder) for folder in folders}))
    index = {name: number for number, name in enumerate(classes)}
    found: list[tuple[int, ImageFile]] = []
    unused = _unused_beside_classes(split, folders)
    for folder in folders:
        label, before = index[class_name(folder)], len(found)
        with as_data_error():
            for file in sorted(_walk(split, folder, set())):
                if isinstance(file, ImageFile):
                    found.append((label, file))
                else:
                    unused.append(file)
        if len(found) == before:
            raise DataError(
                f"class folder {split / folder} has no image files; add photos ({some_suffixes()}) or remove it"
            )
    found.sort(key=lambda item: item[0])  # stable: by class, then by path
    files, labels = tuple(file for _, file in found), tuple(label for label, _ in found)
    return ImageFiles(split, classes, files, labels, tuple(unused), prefix, complete=True)


def class_folders(split: Path) -> list[str]:
    """Names of the folders in ``split`` that can be classes, sorted."""
    with as_data_error(), os.scandir(split) as entries:
        return sorted(entry.name for entry in entries if not system_folder(entry.name) and _is_dir(entry))


def class_name(folder: str) -> str:
    """The name of the class in ``folder``: in Unicode's composed form, as file systems differ in it."""
    return unicodedata.normalize("NFC", folder)


def list_images(folder: Path) -> list[str]:
    """List the image files in and below ``folder``: sorted paths relative to it, without hidden files.

    DataError if there are none, or if a folder cannot be listed.
    """
    return find_images(folder)[0]


def find_images(folder: Path) -> tuple[list[str], list[UnusedFile]]:
    """The images as in ``list_images``, and the files that are none, with the same errors."""
    images, others = list_files(folder)
    if not images:
        raise DataError(f"{folder} has no image files ({some_suffixes()}) in it or its folders")
    return images, others


def list_files(folder: Path) -> tuple[list[str], list[UnusedFile]]:
    """The images in and below ``folder``, and the files that are none; sorted, with paths relative to it."""
    with as_data_error():
        found = [file._replace(path=file.path.removeprefix("./")) for file in _walk(folder, ".", set())]
    unused = [file for file in found if isinstance(file, UnusedFile)]
    return sorted(file.path for file in found if isinstance(file, ImageFile)), sorted(unused)


def image_file(path: str, entry: os.DirEntry[str] | Path) -> ImageFile:
    """The ImageFile of a directory entry or a path; of size -1 if it does not exist."""
    try:
        stat = entry.stat()
    except OSError:  # a dangling link, which the image store lists as unreadable
        return ImageFile(path, -1, 0, 0)
    return ImageFile(path, stat.st_size, stat.st_mtime_ns, stat.st_mode & 0o444)


def _walk(split: Path, folder: str, walked: set[str], reason: str = "") -> Iterator[ImageFile | UnusedFile]:
    """Files in and below ``split/folder``; one pass of scandir, as every worker of a search lists the tree.

    With a ``reason``, all of them are unused for that reason.
    """
    # A link to a folder above would be walked for ever, and its images would get a wrong label.
    walked = walked | {os.path.realpath(split / folder)}
    with os.scandir(split / folder) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if not _is_dir(entry):
                unused = reason or why_unused(entry.name, entry.path)
                yield UnusedFile(path, unused) if unused else image_file(path, entry)
            elif not (entry.is_symlink() and _leads_back(entry.path, walked)):
                kind = system_folder(entry.name)
                yield from _walk(split, path, walked, reason or (f"in {entry.name}, {kind}" if kind else ""))


def _unused_beside_classes(split: Path, folders: list[str]) -> list[UnusedFile]:
    """Images that lie in ``split`` itself, outside of the class folders; other files there are of no interest."""
    known = set(folders)
    with as_data_error(), os.scandir(split) as entries:
        names = sorted(entry.name for entry in entries if entry.name not in known and not _is_dir(entry))
    return [UnusedFile(n, "in no class folder") for n in names if not n.startswith(".") and is_image(n)]


def has_loose_images(folder: Path) -> bool:
    """Whether images lie in ``folder`` itself."""
    return bool(_unused_beside_classes(folder, []))


def _loose_images_hint(split: Path) -> str:
    loose = len(_unused_beside_classes(split, []))
    if not loose:
        return ""
    what = "1 photo" if loose == 1 else f"{loose:,} photos"
    return f"; it has {what} without a class: move them to class folders, or pass a table of labels with --labels"


@contextmanager
def as_data_error() -> Iterator[None]:
    """Turn an OSError of listing a folder into a DataError with its place."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot list {error.filename} ({error.strerror}); check its permissions") from error


def check_listable(folder: Path) -> None:
    """Raise DataError if ``folder`` may not be listed or entered."""
    with as_data_error():
        os.scandir(folder / ".").close()  # a folder that may be listed and not entered fails here, too


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link that leads to itself leads nowhere, as a dangling one
            raise
        return False


def _leads_back(folder: str, walked: set[str]) -> bool:
    target = os.path.realpath(folder)
    return any(known == target or known.startswith(f"{target}{os.sep}") for known in walked)
