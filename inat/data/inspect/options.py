"""The options of inat.data.inspect, which mean what they mean for a search."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from inat.config.search import SearchConfig
from inat.constants import CACHE_DIR, DIGITS, TORCHVISION

OWN = ("photos", "output", "debug")  # options that a search has not, or has with another name or meaning


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectCommand:
    """Look at photos before a search."""

    photos: tyro.conf.Positional[str]
    """Folder of photos, torchvision:NAME or digits, as for --data of a search."""
    labels: Annotated[Path | None, "FILE"] = None
    """Table of the photos with the columns path, label, and if you like split and group. Default: metadata.csv in the
    folder if there is one, else folders are classes."""
    root: Annotated[Path | None, "FOLDER"] = None
    """Folder of a data set of torchvision."""
    download: bool = False
    """Let torchvision download its data set to --root if it is not there."""
    test_fraction: float = 0.2
    """Share of the photos held out as test split, where the data has no test split of its own."""
    group_by: Annotated[str | None, "REGEX"] = None
    """Regular expression that finds a group in the path of a photo. Default: the column group of --labels, if there is
    one."""
    keep_duplicates: bool = False
    """Do not look for copies."""
    image_size: int | None = None
    """Side of the square images of the search, in pixels. Default: 224, or 32 for digits."""
    cache_dir: Annotated[Path, "FOLDER"] = CACHE_DIR
    """Folder for decoded images."""
    max_bad_fraction: float = 0.01
    """Largest share of the images that may be unreadable; with more, a search does not start."""
    output: Annotated[Path | None, "FILE"] = None
    """The page. Default: NAME-data.html in the current folder."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        self.search()

    def search(self) -> SearchConfig:
        """A search of these images with the other options at their defaults; ConfigError for a wrong value."""
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in OWN}
        return SearchConfig(data=self.photos, **options)

    @property
    def name(self) -> str:
        """A short name of the data set, which can be part of a file name."""
        if self.photos == DIGITS or self.photos.startswith(TORCHVISION):
            return self.photos.removeprefix(TORCHVISION)
        return Path(self.photos).expanduser().absolute().name or "photos"

    @property
    def page(self) -> Path:
        """Where the page is written."""
        return Path(f"{self.name}-data.html") if self.output is None else self.output.expanduser()

    def search_command(self) -> str:
        """The command that searches these images."""
        words = ["--data", self.photos]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in OWN and value != field.default:
                words += [f"--{field.name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return f"python tune_scratch.py {shlex.join(words)}"
