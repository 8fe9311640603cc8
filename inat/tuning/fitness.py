"""Whether a machine of a cluster can run a study's trials: asked there beforehand, and told by trials that fail."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inat.constants import CHECKPOINTS_DIR, STUDY_JSON
from inat.errors import DiskFullError, InatError, MachineError
from inat.files import NO_ROOM

_NODE = re.compile(r"MachineError: (?P<reason>.*) \[node (?P<node>[0-9a-f]+)\]")


def unfit_because(study_dir: Path, study_json: str, settings: Mapping[str, Any], fingerprint: str) -> str:
    """Why this machine cannot run trials of a study; "" if it can.

    ``study_json`` is the text of the file as the driver sees it, by which the shared folder is known to be the same;
    ``settings`` are the fields of the study's DataConfig.
    """
    from inat.config import DataConfig
    from inat.data.splits import inspect_data

    try:
        if not _has(study_dir / STUDY_JSON, study_json):
            return f"{study_dir} is not the study there; --storage-path must be a folder that all machines share"
        _check_writable(study_dir / CHECKPOINTS_DIR)
        found = inspect_data(DataConfig(**settings)).fingerprint
    except InatError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or study_dir}: {error.strerror or error}"
    return "" if found == fingerprint else f"the photos in {settings['data']} are not those of the study"


def _has(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        return False


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(exist_ok=True)
        probe = directory / f".probe-{socket.gethostname()}-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno not in NO_ROOM:  # a full disk is full for all
            raise


@contextmanager
def blaming_the_machine(node: str, driver_node: str) -> Iterator[None]:
    """Turn errors that this machine alone can have into a MachineError, so that the trial goes on elsewhere.

    The driver has checked settings, data and weights where it runs: who finds them wrong somewhere else lacks files.
    """
    try:
        yield
    except (InatError, OSError) as error:
        if node == driver_node or isinstance(error, DiskFullError):
            raise
        told = str(error) if isinstance(error, InatError) else f"{type(error).__name__}: {error}"
        raise MachineError(f"{told} [node {node}]") from error


def accused(failure: str) -> tuple[str, str] | None:
    """(node id, reason) if a trial's failure, as Tune wrote it down, is a MachineError."""
    found = list(_NODE.finditer(failure))
    return (found[-1]["node"], found[-1]["reason"]) if found else None
