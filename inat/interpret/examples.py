"""The photographs that are looked at: those of the test split, or one from a file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from torch import Tensor

from inat.config.validation import raise_if_any
from inat.constants import DIGITS
from inat.data.augment import normalise, scale_to_one
from inat.data.decode import read_image, resize, unreadable_reason
from inat.data.loader import as_tensor
from inat.data.splits import Split, load_splits
from inat.errors import DataError
from inat.training.inference import Model

INTERPRET_DIR = "interpret"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What is looked at, and where the pictures go."""

    model: tyro.conf.Positional[Path]
    """A checkpoint (best.ckpt, model.ckpt), a study directory or its final/ directory."""
    data: str | None = None
    """Folder with train/ and val/ or test/, or "digits". Default: the one the model was trained on."""
    cache_dir: Path | None = None
    """Where decoded photographs are kept. Default: as in the training."""
    output: Path | None = None
    """Folder for the pictures. Default: interpret/ beside the model."""
    seed: int = 0
    """Of what is chosen at random."""

    def __post_init__(self) -> None:
        raise_if_any([f"--seed {self.seed} is negative; choose 0 or more"] if self.seed < 0 else [])


@dataclass(frozen=True, slots=True)
class Example:
    """A photograph as the network gets it, (S, S, 3) uint8, and its class if that is known."""

    image: NDArray[np.uint8]
    name: str
    label: str = ""


def test_split(model: Model, source: Source) -> Split:
    """The test photographs at the model's image size; DataError if they are not of the model's classes."""
    config = replace(model.checkpoint.config.data, use_augmentation=False)
    if source.data is not None:  # other photographs than those of the study are welcome
        place = source.data if source.data == DIGITS else str(Path(source.data).expanduser().absolute())
        config = replace(config, data=place, fingerprint="")
    if source.cache_dir is not None:
        config = replace(config, cache_dir=str(source.cache_dir.expanduser().absolute()))
    splits = load_splits(config)
    if splits.classes != model.classes:
        raise DataError(
            f"{config.data} has the classes {', '.join(splits.classes)}, but the model was trained on "
            f"{', '.join(model.classes)}; pass --data with these"
        )
    return splits.test


def images_of(split: Split, chosen: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (N, S, S, 3) of the photographs at these positions of a split."""
    images: NDArray[np.uint8] = split.images[split.rows[np.asarray(chosen, np.int64)]]
    return images


def labels_of(split: Split) -> NDArray[np.int64]:
    """The label of each photograph of a split."""
    labels: NDArray[np.int64] = split.labels[split.rows]
    return labels


def example(model: Model, source: Source, photo: Path | None) -> Example:
    """The photograph in the file ``photo``, or a random one of the test split; DataError if it cannot be read."""
    if photo is not None:
        path = photo.expanduser()
        try:
            return Example(resize(read_image(path), model.image_size), path.name)
        except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
            reason = unreadable_reason(error, str(path))
            raise DataError(f"cannot read {path} ({reason}); pass another --photo") from error
    split = test_split(model, source)
    place = int(np.random.default_rng(source.seed).integers(len(split)))
    return Example(images_of(split, [place])[0], f"test photo {place}", model.classes[labels_of(split)[place]])


def as_input(model: Model, shown: Example) -> Tensor:
    """The photograph as the network sees it, (3, S, S) float32 on its device."""
    images = as_tensor(shown.image[None]).permute(0, 3, 1, 2).to(model.device)
    return normalise(scale_to_one(images))[0]
