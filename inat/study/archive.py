"""Zip archives with arrays (checkpoints, .npz) that a stranger may have made."""

from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, is_zipfile

from analysis.files import check_regular


def check_archive(path: Path) -> None:
    """Raise ValueError if ``path`` is no zip archive as torch and NumPy write it; OSError if it is no regular file.

    They store arrays uncompressed. A compressed archive of 8 MB, or one whose members overlap, can fill the memory.
    """
    check_regular(path)
    if not is_zipfile(path):
        raise ValueError("it is no zip archive")
    with ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != ZIP_STORED for member in members):
        raise ValueError("it is compressed, which torch and NumPy never do")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("its members overlap")
