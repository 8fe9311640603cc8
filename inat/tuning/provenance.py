"""What study.json records so that a study can be understood and repeated later."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from inat.config.search import SearchConfig
from inat.constants import SEARCH_KIND
from inat.data.splits import DataSummary
from inat.errors import StudyError
from inat.study.metadata import require

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "ray", "optuna", "numpy", "pillow")


def study_info(config: SearchConfig, space: Mapping[str, Any], data: DataSummary) -> dict[str, Any]:
    """Return the content of study.json for a new study.

    It holds the configuration, the space as JSON, the fingerprint of the images, versions, commit and hardware.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        SEARCH_KIND: config.KIND,
        "config": config.to_json(),
        "space": dict(space),
        "seed": config.seed,
        "data": {"source": config.data, "fingerprint": data.fingerprint, "classes": list(data.classes)},
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "commit": _commit(),
        "hardware": {"machine": platform.machine(), "system": platform.platform(), "cpus": os.cpu_count()},
    }


def check_unchanged(directory: Path, info: dict[str, Any], data: DataSummary, space: dict[str, Any]) -> None:
    """Raise StudyError if images or search space differ from those that the study with this ``info`` began with."""
    require(info, directory, "data.fingerprint", "space")
    if info["data"]["fingerprint"] != data.fingerprint:
        raise StudyError(
            f"the photos have changed since {directory} began, so its trials could not be compared; "
            "restore them, pass --data with the place they moved to, or start a new study"
        )
    if info["space"] != space:
        changed = sorted(n for n in info["space"].keys() | space if info["space"].get(n) != space.get(n))
        raise StudyError(
            f"the search space has changed since {directory} began ({', '.join(changed)}); start a new study"
        )


def _commit() -> str | None:
    """Return the commit of the git checkout, with "+" if tracked files have changes; None outside a checkout."""
    folder = Path(__file__).parent

    def git(*args: str) -> str:
        command = ["git", *args]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "-uno").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None
