"""Find or download the published weights of a backbone, and read them without running code from the file."""

import functools
import hashlib
import re
import socket
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch
from filelock import FileLock
from torch import Tensor

from analysis.files import check_regular
from inat.config.timm_names import is_timm
from inat.config.validation import expanded
from inat.errors import ConfigError
from inat.models.published_backbones import get_backbone
from inat.models.timm_weights import timm_weights
from inat.study.archive import check_archive

# Seconds to wait for the first answer of each address of the server, and for more bytes during a download.
ANSWER_SECONDS, STALL_SECONDS = 5.0, 60.0
CLAIMED_HASH = re.compile(r"-([0-9a-f]{8,64})\.pth$")  # torch.hub's convention: the name has the start of the SHA-256


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights and the SHA-256 of its bytes in hexadecimal."""

    path: Path
    sha256: str


def check_folder(weights_dir: Path) -> Path:
    """Return ``weights_dir`` with the home directory in it expanded; ConfigError if it is no folder."""
    weights_dir = expanded(weights_dir)
    if not weights_dir.is_dir():
        raise ConfigError(f"there is no folder {weights_dir}; check --weights-dir")
    return weights_dir


@dataclass(frozen=True, slots=True)
class _Source:
    """Published weights: ``names`` of the file in a folder of the user, ``cache`` and address of the download."""

    names: tuple[str, ...]
    shown: str
    """The ``names`` that a message suggests."""
    address: str
    cache: Path
    plain_cache: bool
    """Whether a file that the user puts into ``cache`` is found."""
    cached: Callable[[], Iterable[Path]]
    download: Callable[[], str]
    """Returns why it failed, "" if it did not."""


def find_weights(backbone: str, weights_dir: Path | None = None, *, download: bool = True) -> WeightsFile:
    """Find the weights of ``backbone`` on this node, else download them.

    They are looked for in ``weights_dir``, then in the cache of torch.hub or of the Hugging Face Hub, which a download
    goes to.

    In ``weights_dir``, the file has the name of the backbone, such as resnet50.pth or convnext_tiny.in12k.safetensors,
    or the published name. Raises ConfigError for an unknown backbone, if the weights cannot be found or downloaded, and
    for a file whose SHA-256 contradicts its name.
    """
    source = _timm(backbone) if is_timm(backbone) else _torchvision(backbone)
    folder = None if weights_dir is None else check_folder(weights_dir)

    def places() -> Iterator[Path]:
        own = () if folder is None else (folder / name for name in source.names)
        return (path for path in (*own, *source.cached()) if path.is_file())

    found = next(places(), None)
    if found is None:
        reason = source.download() if download else "none are on this node"
        found = next(places(), None)
        if reason or found is None:
            reason = reason or "the download left no file"
            raise ConfigError(f"no weights of {backbone} ({reason}); {_advice(source, folder)}")
    return _checked(found)


def _torchvision(backbone: str) -> _Source:
    published = get_backbone(backbone)
    url, cache = str(published.weights.url), Path(torch.hub.get_dir()) / "checkpoints"
    cached = cache / published.file_name
    names = (f"{backbone}.pth", published.file_name, f"{backbone}.safetensors")
    return _Source(
        names,
        f"{published.file_name} or {backbone}.pth",
        url,
        cache,
        True,
        lambda: [cached],
        lambda: _download(url, cached),
    )


def _timm(backbone: str) -> _Source:
    published = timm_weights(backbone)

    def fetch() -> str:
        if not published.hub:
            return _download(published.url, published.cache / published.url.rpartition("/")[2])
        with _failure() as reasons, _timeout(ANSWER_SECONDS):
            print(f"fetching {published.address}", flush=True)
            published.download()
        return next(iter(reasons), "")

    shown = " or ".join(published.file_names[:2])
    return _Source(
        published.file_names, shown, published.address, published.cache, not published.hub, published.cached, fetch
    )


def _advice(source: _Source, folder: Path | None) -> str:
    if folder:
        return f"download {source.address} and put it into {folder} as {source.shown}"
    # The cache of the Hub is no plain folder: a file put into it would not be found.
    cache = f"put it into {source.cache}, or as" if source.plain_cache else "put it as"
    return f"download {source.address} and {cache} {source.shown} into a folder named with --weights-dir"


def _checked(path: Path) -> WeightsFile:
    try:
        status = path.stat()
        file = WeightsFile(path, _sha256(path.absolute(), status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise _unreadable(path, error) from error
    claimed = CLAIMED_HASH.search(path.name)
    if claimed and not file.sha256.startswith(claimed[1]):
        raise ConfigError(
            f"{path} is damaged or another file: by its name, its SHA-256 begins with {claimed[1]}, but it is "
            f"{file.sha256}; download it again, or rename it if it is meant to differ"
        )
    return file


@functools.cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, path: Path) -> str:
    """Download ``url`` to ``path`` with torch.hub; returns why it failed, "" if it did not."""
    claimed = CLAIMED_HASH.search(path.name)
    with _failure() as reasons:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process of a node downloads the file, and the others wait for it.
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                with _timeout(ANSWER_SECONDS):
                    urlopen(Request(url, method="HEAD")).close()
                with _timeout(STALL_SECONDS):
                    print(f"fetching {url}", flush=True)
                    torch.hub.download_url_to_file(url, str(path), claimed and claimed[1])
    return next(iter(reasons), "")


@contextmanager
def _failure() -> Iterator[list[str]]:
    """A list that gets the reason if the download in the block fails."""
    reasons: list[str] = []
    try:
        yield reasons
    except (OSError, HTTPException, RuntimeError, ValueError) as error:  # RuntimeError: another hash than claimed
        reason = error.reason if type(error) is URLError else error  # HTTPError, a subclass, has the status in its text
        first_line = str(reason).strip().partition("\n")[0]
        reasons.append(f"cannot fetch them: {first_line or type(reason).__name__}")


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    # torch.hub sets no timeout, and if packets are dropped silently, the system waits for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, on the CPU; they are read from the disk when they are used.

    The file is one of safetensors, or of torch.save with the state dict itself or a dict with the key "state_dict".
    Raises ConfigError for any other content. Code in the file is not run.
    """
    try:
        check_regular(path)
        path.open("rb").close()  # here, because torch raises OSErrors for a damaged archive, too
    except OSError as error:
        raise _unreadable(path, error) from error
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)
        # Files written before torch 1.6, like some published ones, are no zip archives and cannot be memory-mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UnpicklingError as error:
        raise _not_a_state_dict(path, "it is damaged, or contains Python objects, which could run code") from error
    except Exception as error:  # torch raises almost any exception for damaged bytes
        raise _not_a_state_dict(path, "it is damaged") from error
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    return _state_dict(path, content)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return _state_dict(path, load_file(path))
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise ConfigError(f"{path} is damaged, or no file of safetensors; download it again") from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise _not_a_state_dict(path, f"it contains a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise _not_a_state_dict(path, f"{key!r} in it is a {type(value).__name__}")
    if not content:
        raise _not_a_state_dict(path, "it is empty")
    return content


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot read {path} ({error.strerror or error}); check the file and its permissions")


def _not_a_state_dict(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path} is no state dict ({reason}); save one with torch.save(model.state_dict(), path)")
