"""The files of a data set: those that are images, and those that are not used, with the reason."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ANY = ""  # the role of an image that no folder or table puts into a split: a cut decides


class ImageFile(NamedTuple):
    """An image file; a dangling link or a missing file has size -1, time 0 and permissions 0.

    ``path`` is relative to the folder of its ``ImageFiles``, or absolute; ``size`` is in bytes, ``mtime_ns`` is the
    time of the last change, ``readable`` are the permission bits for reading.
    """

    path: str
    size: int
    mtime_ns: int
    readable: int


class UnusedFile(NamedTuple):
    """A file below the folder of a data set that is not used; ``path`` as in ``ImageFile``."""

    path: str
    reason: str


MAX_REASONS = 5  # that are named


def count_reasons(reasons: Iterable[str]) -> str:
    """The most frequent reasons with their numbers: "a video, not an image (31); a hidden file (2)"."""
    counts = Counter(reasons).most_common()
    text = "; ".join(f"{reason} ({count:,})" for reason, count in counts[:MAX_REASONS])
    rest = sum(count for _, count in counts[MAX_REASONS:])
    return f"{text}; other reasons ({rest:,})" if rest else text


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Image files that are decoded together: ``root / files[i].path`` has class ``classes[labels[i]]``.

    ``prefix`` is the part of ``root`` below the folder of the data set, such as "train". ``source`` names the data set
    of a library that the images come from instead of from files; it contains a digest of their pixels. ``complete``
    says that these are all images of the class folders in ``root``.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    labels: tuple[int, ...]
    unused: tuple[UnusedFile, ...] = ()
    prefix: str = ""
    source: str = ""
    complete: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Path of each image, relative to ``root``."""
        return tuple(file.path for file in self.files)

    @property
    def names(self) -> tuple[str, ...]:
        """Path of each image, relative to the folder of the data set."""
        return tuple(os.path.join(self.prefix, file.path) for file in self.files)

    def fingerprint(self) -> str:
        """SHA-256 of the names and sizes of all files; an unchanged copy on another node has the same one."""
        digest = hashlib.sha256(os.fsencode("/".join(self.classes) + self.source))
        for file in self.files:
            digest.update(os.fsencode(file.path) + f"\0{file.size}\0".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a data set, and what is known about their splits.

    ``development`` holds training and validation images, and the test images too if ``test`` is None. ``roles`` says
    for each development image: train, val, test, or ANY if a cut decides. ``groups`` names the group of each
    development image and then of each test image; () without groups. ``meaning`` says which image is used for what.
    ``notes`` are further sentences for the user.
    """

    development: ImageFiles
    test: ImageFiles | None
    roles: tuple[str, ...]
    meaning: str
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[ImageFiles, ...]:
        """The files that are decoded together, one or two of them."""
        return (self.development,) if self.test is None else (self.development, self.test)

    @property
    def names(self) -> tuple[str, ...]:
        """Path of each image, relative to the folder of the data set: development images, then test images."""
        return tuple(name for part in self.parts for name in part.names)

    @property
    def labels(self) -> tuple[int, ...]:
        """Label of each image, in the order of ``names``."""
        return tuple(label for part in self.parts for label in part.labels)

    def fingerprint(self) -> str:
        """64 hexadecimal digits that identify images, classes, splits and groups, wherever the folder is.

        For a training and a test folder of class folders it is the one of earlier versions.
        """
        if self.test is not None and not any(self.roles) and not self.groups:
            return f"{self.development.fingerprint()[:32]}{self.test.fingerprint()[:32]}"
        digest = hashlib.sha256("".join(part.fingerprint() for part in self.parts).encode())
        for column in (map(str, self.labels), self.roles, self.groups):
            digest.update("\0".join(column).encode(errors="surrogateescape") + b"\1")
        return digest.hexdigest()
