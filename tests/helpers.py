"""Helpers of the tests of several packages."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inat.study.digests import DIGESTS, digests_of
from inat.study.study import Study


def run_epochs(study: Study, trial_id: str, values: list[float], **last) -> None:
    """Report ``values`` as the trial's epochs 1, 2, ...; ``last`` goes into the last row."""
    for epoch, value in enumerate(values, start=1):
        extra = last if epoch == len(values) else {}
        study.add_epoch(trial_id, {"epoch": epoch, study.objective.best_column: value} | extra)


def children_of(pid: int) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid,stat"], capture_output=True, text=True, check=True).stdout
    parents = {int(a): int(b) for a, b, stat in (line.split() for line in listed.splitlines()[1:]) if stat[0] != "Z"}
    found: set[int] = set()
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier} - found
        found |= frontier
    return found


def change_info(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change study.json as if the study had been made so; without new digests it would count as edited."""
    path = directory / "study.json"
    info = json.loads(path.read_text())
    change(info)
    info[DIGESTS] = digests_of(info)
    path.write_text(json.dumps(info))
