"""A home that cannot be written to, as in many containers: libraries keep their files in a temporary folder instead."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from inat.constants import HOME

# Matplotlib, W&B and torch.hub follow these; where the user has set one, the library uses it.
FOLDERS = {"XDG_CACHE_HOME": ".cache", "XDG_CONFIG_HOME": ".config"}


def replace_unwritable_home() -> None:
    """Set the variables of FOLDERS whose default cannot be written to; processes that this one starts inherit them.

    The temporary folder is removed at the end of this process.
    """
    home = Path(os.environ.setdefault("HOME", HOME))  # without any, Ray cannot even be imported
    refused = [name for name, folder in FOLDERS.items() if name not in os.environ and not _can_write(home / folder)]
    if refused:
        temporary = tempfile.mkdtemp(prefix="inat-home-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        os.environ |= {name: os.path.join(temporary, FOLDERS[name]) for name in refused}


def _can_write(folder: Path) -> bool:
    existing = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    return os.access(existing, os.W_OK | os.X_OK)
