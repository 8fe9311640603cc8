"""Whether a node of a cluster can run the trials of a study: asked beforehand, and concluded from trials that fail."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inat.constants import CHECKPOINTS_DIR, STUDY_JSON
from inat.errors import DiskFullError, InatError, NodeError
from inat.study.atomic_io import NO_SPACE_ERRNOS

_NODE_ERROR_TEXT = re.compile(rf"{NodeError.__name__}: (?P<reason>.*) \[node (?P<node>[0-9a-f]+)\]")


def why_unusable(
    study_dir: Path, study_json: str, settings: Mapping[str, Any], fingerprint: str, needs_gpu: bool = False
) -> str:
    """Return why this node cannot run trials of a study, "" if it can; runs on the node itself.

    ``study_json`` is the text of the file as the driver reads it: equal text proves that the node sees the same shared
    folder. ``settings`` are the fields of the study's DataConfig. ``needs_gpu`` says that trials get its GPU.
    """
    from inat.config.trial import DataConfig
    from inat.data.splits import inspect_data
    from inat.gpus import survey
    from inat.tuning.ray_backend.local_gpus import in_new_process

    try:
        if not _has_text(study_dir / STUDY_JSON, study_json):
            return f"{study_dir} is not the study there; --storage-path must be a folder that all nodes share"
        _check_writable(study_dir / CHECKPOINTS_DIR)
        found = inspect_data(DataConfig(**settings)).fingerprint
    except InatError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or study_dir}: {error.strerror or error}"
    if found != fingerprint:
        return f"the photos in {settings['data']} are not those of the study"
    return in_new_process(survey).problem if needs_gpu else ""


def _has_text(path: Path, text: str) -> bool:
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
        if error.errno not in NO_SPACE_ERRNOS:  # a full disk is full for all nodes
            raise


@contextmanager
def as_node_error(node_id: str, driver_node_id: str) -> Iterator[None]:
    """Turn errors that only this node can have into a NodeError, so that the trial goes on elsewhere.

    The driver has checked settings, data and weights on its own node; a trial that finds them wrong on another node
    lacks files there.
    """
    try:
        yield
    except (InatError, OSError) as error:
        if node_id == driver_node_id or isinstance(error, DiskFullError):
            raise
        reason = str(error) if isinstance(error, InatError) else f"{type(error).__name__}: {error}"
        raise NodeError(f"{reason} [node {node_id}]") from error


def parse_node_error(failure: str) -> tuple[str, str] | None:
    """Return (node id, reason) if the failure of a trial is a NodeError, else None."""
    found = list(_NODE_ERROR_TEXT.finditer(failure))
    return (found[-1]["node"], found[-1]["reason"]) if found else None
