"""Turn a zip archive of images into a class-folder tree that is complete or absent."""

import errno
import lzma
import os
import shutil
import stat
import struct
import zlib
from pathlib import Path, PureWindowsPath
from typing import Final
from zipfile import BadZipFile, ZipFile, ZipInfo

from inat.constants import TEST, TRAIN, VAL
from inat.data.disk import check_space
from inat.data.download.messages import FULL_DISK_ADVICE, show_progress
from inat.data.layouts import find_split_folders, list_folders
from inat.errors import DataError

# What zipfile raises for damaged bytes or an encrypted member ...
DAMAGE_ERRORS: Final = (BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError)
# ... and the codes of OSErrors that damage also causes: bz2's, a negative offset, a file where a folder should be.
DAMAGE_CODES: Final = (None, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)

MAX_RATIO: Final = 100  # of unpacked to packed bytes; photos hardly shrink, zeros about 1,030 times
MIN_BOMB: Final = 100_000_000  # bytes that any archive may have
MAX_MEMBERS: Final = 20_000_000  # iNaturalist 2021, the largest of its kind, has 2.7 million
MAX_NAME, MAX_PATH = 255, 2048  # bytes; Linux allows 4,096 for the whole path, with the folder given by --to
COPY_BYTES: Final = 1 << 20


class UnusableArchiveError(DataError):
    """The archive was fetched completely but is unusable, so keeping it would repeat the error for ever."""


def publish_archive(archive: Path, target: Path) -> int:
    """Unpack and check the archive in a folder beside it, then rename this folder to ``target``.

    After a crash ``target`` is complete or absent. Returns the number of images. Raises UnusableArchiveError if the
    archive is damaged, has a member that would be written outside the folder, or is no class-folder tree; DataError if
    the disk is too small.
    """
    tree = archive.with_name("tree")
    shutil.rmtree(tree, ignore_errors=True)  # left by a run that was killed
    try:
        tree.mkdir()
        _unpack(archive, tree)
        top = next((top for top in (tree, *sorted(tree.iterdir())) if (top / TRAIN).is_dir()), tree)
        count = _count_unpacked(top)
        os.sync()  # after a power cut the renamed folder must have no files with holes
        os.replace(top, target)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return count


def count_images(root: Path) -> int:
    """Number of training and held-out images in a class-folder tree; DataError if it cannot be trained on."""
    found = find_split_folders(root) if root.is_dir() else {}
    if root.is_dir() and TRAIN not in found:
        raise DataError(f"no '{TRAIN}' folder in {root}")
    if root.is_dir() and len(found) < 2:
        raise DataError(f"no '{VAL}' or '{TEST}' folder in {root}")
    return sum(len(part.files) for part in list_folders(root).parts)


def _unpack(archive: Path, tree: Path) -> None:
    try:
        with ZipFile(archive) as opened:
            members = opened.infolist()
            for member in members:
                _refuse_escape(member)
            size = sum(member.file_size for member in members)
            _refuse_bomb(members, size, archive.stat().st_size)
            check_space(archive.parent.parent, size, "unpacking", FULL_DISK_ADVICE)
            with show_progress("unpacked", size) as advance:
                for member in members:
                    _extract(opened, member, tree)
                    advance(member.file_size)
    except (*DAMAGE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DAMAGE_CODES:
            raise  # caused by the disk, not by the archive
        raise UnusableArchiveError(
            f"the {archive.stat().st_size:,} bytes declared and received are no sound zip archive: {error}; "
            "check --url, or run the same command to fetch them anew"
        ) from error


def _refuse_escape(member: ZipInfo) -> None:
    # Windows' rules include those of the other systems: a/../b, /a, \\a, C:a. zipfile would rename such members.
    path = PureWindowsPath(member.filename)
    odd = stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR)
    if path.anchor or ".." in path.parts or odd:
        what = "is a link or a device" if odd else "leads out of the folder"
        raise UnusableArchiveError(
            f"member {member.filename!r} of the archive {what}, so nothing was unpacked; pass another --url"
        )


def _refuse_bomb(members: list[ZipInfo], unpacked: int, packed: int) -> None:
    long = next((m.filename for m in members if len(os.fsencode(m.filename)) > MAX_PATH), None)
    long = long or next((m.filename for m in members if max(map(len, _names(m))) > MAX_NAME), None)
    if len(members) > MAX_MEMBERS:
        wrong = f"{len(members):,} members, more than the allowed {MAX_MEMBERS:,}"
    elif unpacked > max(MAX_RATIO * packed, MIN_BOMB):
        wrong = f"{unpacked:,} bytes in {packed:,}, which no archive of photos has"
    elif long is not None:
        wrong = f"a member with a name that is too long for a disk, {long[:40]!r}..."
    else:
        return
    raise UnusableArchiveError(f"the archive has {wrong}, so nothing was unpacked; pass another --url")


def _names(member: ZipInfo) -> list[bytes]:
    return os.fsencode(member.filename).split(b"/")


def _extract(archive: ZipFile, member: ZipInfo, tree: Path) -> None:
    target = tree / member.filename
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # "x" fails where a second member has the same name: on macOS and Windows also in other letters' case.
    with archive.open(member) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, COPY_BYTES)  # reads to the end, where zipfile compares the CRC


def _count_unpacked(top: Path) -> int:
    try:
        return count_images(top)
    except DataError as error:
        wrong = str(error).partition(";")[0].replace(f"{top}/", "").replace(str(top), "it")
        raise UnusableArchiveError(
            f"the archive does not hold the photos that a search needs: {wrong}; "
            f"pass the --url of a zip with {TRAIN}/<class>/* and {VAL}/<class>/*"
        ) from error
