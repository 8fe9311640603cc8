"""Turn a zip archive of photographs into a class-folder tree that is there as a whole or not at all."""

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

from inat.constants import TRAIN, VAL
from inat.data.image_folder import list_train_and_test
from inat.data.image_store_builder import OTHER_DISK, check_space, progress
from inat.errors import DataError

# What zipfile raises over damaged bytes or an encrypted member ...
DAMAGE: Final = (BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError)
# ... and the codes of those OSErrors that come from it, too: bz2's, a place before the start, a file that is a folder.
DAMAGE_CODES: Final = (None, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


class UselessArchiveError(DataError):
    """The archive is all there but wrong, so that keeping it would repeat the error for ever."""


def publish(archive: Path, target: Path) -> int:
    """Unpack and check beside ``archive``, then rename to ``target``, which a crash leaves whole or absent.

    Returns the count of photographs. Raises UselessArchiveError if the archive is damaged, has a member that would
    leave the folder, or is no class-folder tree; DataError if the disk is too small.
    """
    tree = archive.with_name("tree")
    shutil.rmtree(tree, ignore_errors=True)  # of a run that was killed
    try:
        tree.mkdir()
        _unpack(archive, tree)
        top = next((top for top in (tree, *sorted(tree.iterdir())) if (top / TRAIN).is_dir()), tree)
        photos = _count_unpacked(top)
        os.sync()  # a power cut after the renaming must not leave photos with holes
        os.replace(top, target)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return photos


def count_images(root: Path) -> int:
    """How many photographs, for training and held out, a tree has; DataError if it cannot be trained on."""
    return sum(len(split.files) for split in list_train_and_test(root))


def _unpack(archive: Path, tree: Path) -> None:
    try:
        with ZipFile(archive) as opened:
            members = opened.infolist()
            for member in members:
                _refuse_escape(member)
            size = sum(member.file_size for member in members)
            check_space(archive.parent.parent, size, "unpacking", OTHER_DISK)
            with progress("unpacked", size) as advance:
                for member in members:
                    opened.extract(member, tree)  # reads to the end, where zipfile compares the CRC
                    advance(member.file_size)
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DAMAGE_CODES:
            raise  # the disk's, not the archive's
        raise UselessArchiveError(
            f"the {archive.stat().st_size:,} bytes declared and received are no sound zip archive: {error}; "
            "check --url, or run the same command to fetch them anew"
        ) from error


def _refuse_escape(member: ZipInfo) -> None:
    # Windows' rules cover those of the others: a/../b, /a, \\a, C:a. zipfile would rename such members and go on.
    path = PureWindowsPath(member.filename)
    odd = stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR)
    if path.anchor or ".." in path.parts or odd:
        what = "is a link or a device" if odd else "leads out of the folder"
        raise UselessArchiveError(
            f"member {member.filename!r} of the archive {what}, so nothing was unpacked; pass another --url"
        )


def _count_unpacked(top: Path) -> int:
    try:
        return count_images(top)
    except DataError as error:
        wrong = str(error).partition(";")[0].replace(f"{top}/", "").replace(str(top), "it")
        raise UselessArchiveError(
            f"the archive holds no such photos as a search needs: {wrong}; "
            f"pass the --url of a zip with {TRAIN}/<class>/* and {VAL}/<class>/*"
        ) from error
