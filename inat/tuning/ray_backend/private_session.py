"""A Ray session on this machine that no other user can reach, for the length of one search."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import ray
from filelock import FileLock, Timeout
from ray._private import ray_constants

from inat.machine import usable_cores
from inat.tuning.ray_backend import tokens
from inat.tuning.ray_backend.local_gpus import missed_gpus
from inat.tuning.ray_backend.start_errors import as_start_error
from inat.tuning.ray_backend.temporary_directory import PREFIX, temporary_place
from inat.tuning.ray_backend.worker_lines import print_each_once

# Ray replaces a node's address 127.0.0.1 with the machine's outer address, and its servers then listen on every
# interface. Only with this switch off, as on macOS and Windows, do they stay on the loopback device (`ss -ltn`).
LOOPBACK_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Nothing passes through the object store, because trials open the image store themselves. Ray's minimum is 75 MB.
OBJECT_STORE_BYTES = 100_000_000
LOCK = "lock"
# What workers print appears in the terminal behind "(run_trial pid=...)". Ray reads this variable when it is imported.
PREFIX_SWITCH = "RAY_DISABLE_WORKER_LOG_PREFIX"


@contextmanager
def private_ray(level: int) -> Iterator[None]:
    """Start Ray on this machine with a folder and a token of its own; ends it and removes both on leaving.

    Other users can neither enter the folder, in which Ray makes others of mode 777, nor read the token, without which
    Ray's servers refuse all calls. Nothing is needed or written below the home directory.
    """
    place = temporary_place(OBJECT_STORE_BYTES)
    with (
        _private_folder(place) as folder,
        _environment({LOOPBACK_SWITCH: "0"} | tokens.environment_of_new_token(folder)),
    ):
        tokens.read_environment_again()
        before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
        if level > logging.INFO and PREFIX_SWITCH not in os.environ:  # with --debug, it matters which process it was
            ray_constants.RAY_DISABLE_WORKER_LOG_PREFIX = True
        try:
            with as_start_error(place):
                ray.init(
                    num_gpus=missed_gpus() or None,  # Ray counts the others
                    address="local",  # never a cluster that RAY_ADDRESS happens to name, or that runs on this machine
                    num_cpus=usable_cores(),  # Ray passes over the affinity and the limits of nested control groups
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    logging_level=level,
                    _temp_dir=str(folder / "r"),  # in the folder, because Ray gives it mode 777; short for its sockets
                )
            if level > logging.INFO:
                print_each_once()
            yield
        finally:
            ray.shutdown()
            ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _private_folder(place: Path) -> Iterator[Path]:
    """Make a folder of mode 700 in ``place`` and remove it on leaving; also remove those of killed searches."""
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    lock = FileLock(folder / LOCK)
    try:
        with lock:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(place: Path) -> None:
    for old in place.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            # Only folders of this user: in another one, the lock may be a link to any file. FileLock would empty it.
            if old.lstat().st_uid == os.getuid() and (old / LOCK).is_file():
                with FileLock(old / LOCK, timeout=0):  # the search holds the lock as long as it lives
                    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of the environment, or unset those with None; the earlier values return on leaving."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
