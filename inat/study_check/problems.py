"""One thing that is wrong with a study, and the folder that keeps what a repair removes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from analysis.files import is_inside
from inat.errors import StudyError


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. ``mend`` repairs it and returns what it did; None if only the user can."""

    text: str
    mend: Callable[[], str] | None = None


class Removed:
    """Keeps what a repair takes out of a study, in a folder of the study that is made when it is needed."""

    def __init__(self, study: Path) -> None:
        self._study = study
        self.directory = study / f"removed-{datetime.now():%Y%m%d-%H%M%S}"

    def path_for(self, path: Path) -> Path:
        """Where a file or folder of the study is kept; its folder is created."""
        target = self.directory / path.relative_to(self._study)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not is_inside(target.parent, self._study):  # a link that somebody has made since the study was checked
            raise StudyError(f"{target.parent} is a link that leads out of {self._study}; remove it")
        return target

    def move(self, path: Path) -> str:
        """Move a file or folder of the study there; returns what was done."""
        target = self.path_for(path)
        path.rename(target)
        return f"moved to {target.relative_to(self._study)}"
