"""The options of a search about its images: where they are, and how they are split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from inat.config.trial import DataConfig
from inat.config.validation import expanded
from inat.constants import CACHE_DIR, DIGITS, SQUASH, TORCHVISION


@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """The options about the images of a search. The string below a field is the help text of its option."""

    data: Annotated[str, "FOLDER"] = "inaturalist_12K"
    """Folder of photos: train/<class>/* with val/<class>/* or test/<class>/*, of which the second is the held-out test
    split; or <class>/* alone. Or torchvision:NAME with --root. Or digits: 1,797 scans that come with scikit-learn."""
    labels: Annotated[Path | None, "FILE"] = None
    """Table of the photos (CSV, JSON lines or Parquet) with the columns path, label, and if you like split and group;
    paths are relative to --data. Default: metadata.csv in --data if there is one, else folders are classes."""
    root: Annotated[Path | None, "FOLDER"] = None
    """Folder of a data set of torchvision, for example --data torchvision:CIFAR10 --root ~/data."""
    download: bool = False
    """Let torchvision download its data set to --root if it is not there."""
    test_fraction: float = 0.2
    """Share of the photos held out as test split, where the data has no test split of its own."""
    group_by: Annotated[str | None, "REGEX"] = None
    """Regular expression that finds a group in the path of a photo, for example 'bird_(\\d+)_'. All photos of a group
    are on one side of every split. Default: the column group of --labels, if there is one."""
    keep_duplicates: bool = False
    """Let copies of a photo be on two sides of a split. Default: they are kept together, and training photos that are
    copies of test photos are left out."""
    image_size: int | None = None
    """Side of the square images, in pixels. Default: 224, or 32 for digits."""
    resize: Literal["squash", "crop"] | None = None
    """How a photo becomes a square: squash takes all of it, crop its centre. Augmented training images come from all of
    the photo either way. Default: squash."""
    cache_dir: Annotated[Path, "FOLDER"] = CACHE_DIR
    """Folder for decoded images, on each node."""
    max_bad_fraction: float = 0.01
    """Largest share of the images that may be unreadable; with more, the search does not start."""
    folds: int = 1
    """Train each trial N times, validated on another of N parts of the training and validation images each time; its
    result is the mean. 1: once, validated on a fifth of the images."""
    repeats: int = 1
    """Train each trial N times, with other seeds and newly drawn folds; its result is the mean."""

    @property
    def resolved_image_size(self) -> int:
        """The image size in pixels: the option's value, or the default for the data."""
        if self.image_size is not None:
            return self.image_size
        return 32 if self.data == DIGITS else 224

    @property
    def data_path(self) -> str:
        """The data as a name or an absolute path."""
        named = self.data == DIGITS or self.data.startswith(TORCHVISION)
        return self.data if named else str(expanded(self.data).resolve())

    @property
    def _labels_path(self) -> str:
        """The table of labels, in the current folder or else in the folder of the images; "" without one."""
        if self.labels is None:
            return ""
        given = expanded(self.labels)
        beside = Path(self.data_path) / given
        return str((beside if not given.exists() and beside.exists() else given).absolute())

    @property
    def trainings(self) -> int:
        """How many times each trial trains."""
        return self.folds * self.repeats

    def data_config(self, image_size: int | None = None, *, use_augmentation: bool = True) -> DataConfig:
        """The data settings of the study, for one of its image sizes if its trials have several."""
        return DataConfig(
            data=self.data_path,
            image_size=image_size or self.resolved_image_size,
            cache_dir=str(expanded(self.cache_dir).absolute()),
            use_augmentation=use_augmentation,
            max_bad_fraction=self.max_bad_fraction,
            labels=self._labels_path,
            root=str(expanded(self.root).absolute()) if self.root else "",
            test_fraction=self.test_fraction,
            group_by=self.group_by or "",
            keep_duplicates=self.keep_duplicates,
            resize=self.resize or SQUASH,
            folds=self.folds if self.folds > 1 else 0,
        )
