"""Create folders of the cache so that only this user can write to them, and refuse those that others can write to.

Whoever can write to the cache can exchange the photos that a search trains on. In a folder such as /tmp, where every
user of the machine can create folders, somebody else may have created the cache before this user.
"""

import os
import pwd
import stat
from pathlib import Path

from inat.errors import DataError

PRIVATE = 0o700
ROOT = 0


def create_private(folder: Path) -> None:
    """Create ``folder`` for this user alone if it does not exist; check an existing one as ``check_trusted`` does.

    Missing folders above it get the permissions of the umask. Raises OSError if it cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=PRIVATE)
    except FileExistsError:
        check_trusted(folder)


def check_trusted(folder: Path) -> None:
    """Raise DataError if a user other than this one and root could have put files into ``folder``.

    A folder of another user is accepted where only its owner could create it, as a cache that a group shares. Nothing
    is refused in a folder that does not exist.
    """
    try:
        status, above = os.stat(folder), os.stat(folder.absolute().parent)
    except OSError:  # whoever opens a file of the folder gets the same error, or there is none
        return
    mine = status.st_uid in (os.geteuid(), ROOT)
    if not mine and above.st_mode & stat.S_IWOTH:
        raise DataError(
            f"the cache {folder} belongs to {_user(status.st_uid)}, who may have put other photos into it; pass a "
            "--cache-dir of your own"
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise DataError(
            f"every user of this machine can write to the cache {folder}, and so put other photos into it; run "
            f"`chmod o-w {folder}` after a look at its content, or pass another --cache-dir"
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
