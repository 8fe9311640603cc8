"""The download as the user sees it: folders, messages, and going on after an interruption."""

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from inat.data.download.http import ResumableFile
from inat.data.download.unzip import UselessArchiveError, count_images, publish
from inat.data.image_store_builder import disk_errors
from inat.errors import DataError

NATURE_12K: Final = "https://storage.googleapis.com/wandb_datasets/nature_12K.zip"
DEFAULT: Final = Path("inaturalist_12K")


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadCommand:
    """Fetch the photographs and unpack them; goes on where an earlier run was stopped."""

    to: Path = DEFAULT
    """Folder that gets train/ and val/."""
    url: str = NATURE_12K
    """Zip archive with train/<class>/* and val/<class>/*, perhaps in a folder of its own."""


def download(command: DownloadCommand) -> None:
    """Bring the photographs to ``command.to`` unless they are there, and say what to run next; DataError if it fails.

    A folder with anything else in it is left alone.
    """
    given = command.to.expanduser()
    target = given.resolve()  # a link to a larger disk takes the working folder there, too
    with disk_errors(target.parent):
        photos = find_images(target)
        if photos is None:
            _refuse_mount_point(target)
            photos = _bring(command.url, target)
            print(f"{target} is complete: {photos:,} photos")
        else:
            shutil.rmtree(_work_folder(target), ignore_errors=True)  # of a run that was killed after its last step
            print(f"{target} was complete before: {photos:,} photos, nothing to fetch")
    search = f"python tune_scratch.py --data {shlex.quote(str(given))}"
    print(f"next: {search}\nor, for a first look: {search} --image-size 64 --num-samples 16 --max-epochs 9")


def find_images(target: Path) -> int | None:
    """How many photos a complete ``target`` has; None if there is none yet, DataError if it is something else."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        return count_images(target)
    except DataError as error:
        wrong = str(error).partition(";")[0]
        raise DataError(f"{wrong}, and a download never replaces files; name another folder with --to") from error


def _refuse_mount_point(target: Path) -> None:
    """A finished folder takes the place of ``target`` by one renaming, which a mount point does not allow."""
    if os.path.ismount(target):
        raise DataError(
            f"{target} is a mount point, and the photos need a folder in it; pass --to {target / DEFAULT.name}"
        )


def _bring(url: str, target: Path) -> int:
    with _workplace(target) as archive:
        photos = find_images(target)  # another process may just have ended
        if photos is not None:
            return photos
        part = ResumableFile(url, archive)
        try:
            part.fetch()
            photos = publish(archive, target)
            part.forget()
        except UselessArchiveError:
            part.forget()
            raise
        except KeyboardInterrupt:
            print("what has come is kept; the same command goes on from there")
            raise
    return photos


def _work_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.download")


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Where the archive grows, for one process at a time; its folder stays only while it holds a part of it."""
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
        # The lock file goes while it is held; filelock sees to it that nobody gets a lock on a file that has gone.
        if not archive.exists() or not archive.stat().st_size:
            shutil.rmtree(work, ignore_errors=True)
        lock.release()
