"""Where the published weights of a backbone come from, and how they are read without running what is in the file."""

import functools
import hashlib
import re
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from torch import Tensor

from inat.errors import ConfigError
from inat.models.backbones import get_backbone

# Seconds until a machine without a network is told from a slow one, for each address of the server, and until a
# download is given up of which nothing more comes.
ANSWER_WITHIN, STALL_AFTER = 5.0, 60.0
CLAIMED_HASH = re.compile(r"-([0-9a-f]{8,64})\.pth$")  # torch.hub's convention: the name tells how SHA-256 begins


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights and the SHA-256 of its bytes, in hexadecimal digits."""

    path: Path
    sha256: str


def find_weights(backbone: str, weights_dir: Path | None = None, *, download: bool = True) -> WeightsFile:
    """The weights of ``backbone``: in ``weights_dir``, else in torch.hub's cache, else downloaded into that cache.

    In ``weights_dir`` they may be called as the backbone or as published. ConfigError for an unknown backbone, for
    weights that cannot be had, and for a file with another SHA-256 than its name claims.
    """
    published = get_backbone(backbone).file_name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / published
    places = [cached]
    if weights_dir is not None:
        weights_dir = weights_dir.expanduser()
        if not weights_dir.is_dir():
            raise ConfigError(f"there is no folder {weights_dir}; check --weights-dir")
        places = [weights_dir / f"{backbone}.pth", weights_dir / published, cached]
    if not any(path.is_file() for path in places):
        url = str(get_backbone(backbone).weights.url)
        reason = _download(url, cached) if download else "none are on this machine"
        if reason:
            raise ConfigError(f"no weights of {backbone} ({reason}); {_advice(backbone, url, cached, weights_dir)}")
    return _checked(next(path for path in places if path.is_file()))


def _advice(backbone: str, url: str, cached: Path, weights_dir: Path | None) -> str:
    names = f"{cached.name} or {backbone}.pth"
    if weights_dir:
        return f"bring {url} and put it into {weights_dir} as {names}"
    return f"bring {url} and put it into {cached.parent}, or as {names} into a folder named with --weights-dir"


def _checked(path: Path) -> WeightsFile:
    try:
        status = path.stat()
        file = WeightsFile(path, _sha256(path.absolute(), status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise _unreadable(path, error) from error
    claimed = CLAIMED_HASH.search(path.name)
    if claimed and not file.sha256.startswith(claimed[1]):
        raise ConfigError(
            f"{path} is damaged or something else: by its name its SHA-256 begins with {claimed[1]}, but it is "
            f"{file.sha256}; bring it again, or rename it if it is meant to differ"
        )
    return file


@functools.cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, path: Path) -> str:
    """Bring ``url`` to ``path`` with torch.hub; returns what was in the way, if anything."""
    claimed = CLAIMED_HASH.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process of a machine fetches, the others find what it has brought.
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                with _timeout(ANSWER_WITHIN):
                    urlopen(Request(url, method="HEAD")).close()
                with _timeout(STALL_AFTER):
                    print(f"fetching {url}", flush=True)
                    torch.hub.download_url_to_file(url, str(path), claimed and claimed[1])
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: not the claimed hash
        words = str(error) or type(error).__name__
        return f"cannot fetch them: {words.removeprefix('<urlopen error ').removesuffix('>')}"
    return ""


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # torch.hub sets none, and where packets are dropped silently the system waits for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, on the CPU and read from the disk as they are used.

    The file may hold the state dict itself or under the key "state_dict". ConfigError for anything else; no code in the
    file is run.
    """
    try:
        path.open("rb").close()  # torch answers a damaged archive with OSErrors, too
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        # Files written before torch 1.6, as some of the published ones are, are no zip archives and cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UnpicklingError as error:
        raise _useless(path, "it is damaged, or holds Python objects, which could run code") from error
    except Exception as error:  # torch raises almost anything for damaged bytes
        raise _useless(path, "it is damaged") from error
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    return _state_dict(path, content)


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise _useless(path, f"it holds a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise _useless(path, f"{key!r} in it is a {type(value).__name__}")
    if not content:
        raise _useless(path, "it is empty")
    return content


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot read {path} ({error.strerror or error}); check the file and its permissions")


def _useless(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is no state dict ({why}); save one with torch.save(model.state_dict(), path)")
