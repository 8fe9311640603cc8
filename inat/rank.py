"""Which backbone? Judge the features of pretrained networks on your photos, within minutes and without training.

    inat rank photos                                          # all backbones, from small to large
    inat rank photos --image-size 128 --weights-dir weights   # smaller images, weights from a folder
    inat rank photos --backbones mobilenet_v2 resnet50        # these two
    inat rank photos --time-budget 5m --csv backbones.csv     # only what fits into 5 minutes; also as a file

Each network runs once over the photos. Then nearest neighbours and an exact linear probe are scored on the validation
photos. A probe judges features as they are: once stages of a network train, the order may differ.
`tune_finetune.py --preset good` goes on from here by itself.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from inat.cli import run_command
from inat.config.finetune import FinetuneConfig
from inat.config.race import CANDIDATES
from inat.config.trial import Precision
from inat.constants import CACHE_DIR

OWN = ("photos", "csv")  # options that a search has not, or has with another name


@dataclass(frozen=True, kw_only=True, slots=True)
class RankCommand:
    """Rank backbones by their features."""

    photos: tyro.conf.Positional[str]
    """Folder of photos, torchvision:NAME or digits, as for --data of a search."""
    backbones: Annotated[tuple[str, ...], "NAME ..."] = CANDIDATES
    """Networks to judge. Default: all of torchvision's, without those that --image-size does not fit."""
    image_size: int | None = None
    """Side of the square images, in pixels. Default: the size that each backbone's weights were published for."""
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "val_loss", "top2"] = "accuracy"
    """What to rank by, as for a search."""
    class_weights: Literal["none", "balanced", "effective"] = "none"
    """Weights of the classes in the loss of the linear probe, as for a search."""
    weights: Literal["imagenet", "none"] = "imagenet"
    """Published ImageNet weights, or random ones (none) as a control."""
    weights_dir: Annotated[Path | None, "FOLDER"] = None
    """Folder with a file BACKBONE.pth per backbone, for machines without internet. Default: torch's cache, then a
    download."""
    time_budget: Annotated[str | None, "TIME"] = None
    """Time for all probes, for example 5m; those that do not fit are skipped. Default: no limit."""
    csv: Annotated[Path | None, "FILE"] = None
    """Also write the table to this file."""
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
    """Let copies of a photo be on two sides of a split."""
    precision: Precision = "auto"
    """Number format of the networks: auto takes bfloat16 or float16 where the hardware gains from it."""
    cache_dir: Annotated[Path, "FOLDER"] = CACHE_DIR
    """Folder for decoded images and features."""
    debug: bool = False
    """Show tracebacks."""

    def __post_init__(self) -> None:
        self.search()

    def search(self) -> FinetuneConfig:
        """A search of these images with the other options at their defaults; ConfigError for a wrong value."""
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in OWN}
        if self.backbones is CANDIDATES:  # that very tuple: nobody has chosen it
            options["backbones"] = FinetuneConfig(
                data=self.photos, image_size=self.image_size, strategies=("freeze_all",), preset="fast"
            ).backbones
        return FinetuneConfig(data=self.photos, strategies=("freeze_all",), k_layers=(1,), **options)


def main(command: RankCommand) -> None:
    """Run the command; the libraries load only after the options have been checked."""
    from inat.tuning.racing.rank import rank

    rank(command.search(), None if command.csv is None else command.csv.expanduser())


if __name__ == "__main__":
    run_command(RankCommand, main, description=__doc__)
