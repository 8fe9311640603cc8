"""The download command: folders, messages, and continuing after an interruption."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from inat.config.validation import expanded
from inat.data.download.http import ResumableFile
from inat.data.download.messages import as_data_error
from inat.data.download.unzip import UnusableArchiveError, count_images, publish_archive
from inat.errors import DataError
from inat.next_step import next_command

NATURE_12K: Final = "https://storage.googleapis.com/wandb_datasets/nature_12K.zip"
DEFAULT: Final = Path("inaturalist_12K")


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadCommand:
    """Fetch the photos and unpack them; continues where an earlier run was stopped."""

    to: Path = DEFAULT
    """Folder to create, with train/ and val/ in it."""
    url: str = NATURE_12K
    """Zip archive with train/<class>/* and val/<class>/*, at its top or in one folder."""


def download(command: DownloadCommand) -> None:
    """Download the images to ``command.to`` unless they are there, and print what to run next; DataError if it fails.

    A folder with any other content is left as it is.
    """
    given = expanded(command.to)
    target = given.resolve()  # if it is a link to a larger disk, the working folder is on that disk, too
    with as_data_error(target.parent):
        count = find_images(target)
        if count is None:
            _refuse_mount_point(target)
            count = _fetch_and_unpack(command.url, target)
            print(f"{target} is complete: {count:,} photos")
        else:
            shutil.rmtree(_work_folder(target), ignore_errors=True)  # left by a run that was killed after its last step
            print(f"{target} was complete before: {count:,} photos, nothing to fetch")
    search = next_command("tune-scratch", "--data", given)
    print(f"next: {search}\nor, for a first look: {search} --image-size 64 --num-samples 16 --max-epochs 9")


def find_images(target: Path) -> int | None:
    """Number of images in a complete ``target``; None if it is missing or empty, DataError if it has other content."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        return count_images(target)
    except DataError as error:
        wrong = str(error).partition(";")[0]
        raise DataError(f"{wrong}, and a download never replaces files; name another folder with --to") from error


def _refuse_mount_point(target: Path) -> None:
    """The finished folder is renamed to ``target``, which is impossible for a mount point."""
    if os.path.ismount(target):
        raise DataError(
            f"{target} is a mount point, and the photos need a folder in it; pass --to {target / DEFAULT.name}"
        )


def _fetch_and_unpack(url: str, target: Path) -> int:
    with _locked_archive(target) as archive:
        count = find_images(target)  # another process may just have completed it
        if count is not None:
            return count
        partial = ResumableFile(url, archive)
        try:
            partial.fetch()
            count = publish_archive(archive, target)
            partial.forget()
        except UnusableArchiveError:
            partial.forget()
            raise
        except KeyboardInterrupt:
            print("the part fetched so far is kept; the same command continues from there")
            raise
    return count


def _work_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.download")


@contextmanager
def _locked_archive(target: Path) -> Iterator[Path]:
    """Path of the growing archive, for one process at a time; its folder stays only if it holds a part of it."""
    work = _work_folder(target)
    work.mkdir(parents=True, exist_ok=True)
    archive, lock = work / "archive.zip", FileLock(work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataError(
            f"another process is fetching {target}; wait until it has ended, or name another folder with --to"
        ) from error
    try:
        yield archive
    finally:
        # The lock file is removed while it is held; filelock makes sure that nobody locks a file that was removed.
        if not archive.exists() or not archive.stat().st_size:
            shutil.rmtree(work, ignore_errors=True)
        lock.release()
