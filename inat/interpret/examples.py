"""The options of inat.interpret, and the images that its figures show: the test split, or one image file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from torch import Tensor

from inat.config.resume import check_named
from inat.config.trial import DataConfig
from inat.config.validation import expanded, raise_if_any
from inat.constants import CACHE_DIR, DIGITS, TORCHVISION
from inat.data.augment import normalise, scale_to_one
from inat.data.decode import read_image, unreadable_reason
from inat.data.loader import as_tensor
from inat.data.splits import Split, load_splits
from inat.errors import DataError
from inat.training.inference import Model

INTERPRET_DIR = "interpret"


@dataclass(frozen=True, kw_only=True, slots=True)
class InterpretOptions:
    """Options that every command of inat.interpret has."""

    model: tyro.conf.Positional[Path]
    """Checkpoint (best.ckpt, model.ckpt), study directory, or its final/ directory."""
    data: str | None = None
    """Folder with train/ and val/ or test/, or "digits". Default: the data of the training."""
    cache_dir: Path | None = None
    """Folder for decoded images. Needed if the training had this option."""
    output: Path | None = None
    """Folder for the figures. Default: interpret/ beside the model."""
    seed: int = 0
    """Seed of random choices: test photos, neurons."""

    def __post_init__(self) -> None:
        raise_if_any([f"--seed {self.seed} is negative; choose 0 or more"] if self.seed < 0 else [])


@dataclass(frozen=True, slots=True)
class Example:
    """An image (S, S, 3) uint8 at the network's size, with its name and its class, "" if unknown."""

    image: NDArray[np.uint8]
    name: str
    label: str = ""


def test_split(model: Model, options: InterpretOptions) -> Split:
    """The test split at the model's image size.

    Raises DataError if the data is missing or its classes differ from the model's, and StudyError if only the
    checkpoint, which somebody else may have made, names a folder to write decoded images to.
    """
    config = replace(model.checkpoint.config.data, use_augmentation=False)
    if options.data is not None:  # no fingerprint: other images than those of the study are allowed
        named = options.data == DIGITS or options.data.startswith(TORCHVISION)
        data = options.data if named else str(expanded(options.data).absolute())
        config = replace(config, data=data, fingerprint="")
    splits = load_splits(replace(config, cache_dir=_cache_dir(config, options)))
    if splits.classes != model.classes:
        raise DataError(
            f"{config.data} has the classes {', '.join(splits.classes)}, but the model was trained on "
            f"{', '.join(model.classes)}; pass --data with a folder of these classes"
        )
    return splits.test


def _cache_dir(config: DataConfig, options: InterpretOptions) -> str:
    """The folder that the user names, else the default one: never one that only the checkpoint ``config`` names."""
    if options.cache_dir is not None:
        return str(expanded(options.cache_dir).absolute())
    if config.data != DIGITS:  # nothing of the digits is kept
        check_named(options.model, {"cache_dir": config.cache_dir}, (), ("cache_dir",))
    return str(CACHE_DIR)


def images_of(split: Split, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images (N, S, S, 3) uint8 at N ``positions`` of a split."""
    images: NDArray[np.uint8] = split.images[split.rows[np.asarray(positions, np.int64)]]
    return images


def labels_of(split: Split) -> NDArray[np.int64]:
    """Labels (N,) of a split's N images."""
    labels: NDArray[np.int64] = split.labels[split.rows]
    return labels


def load_example(model: Model, options: InterpretOptions, photo: Path | None) -> Example:
    """The image in the file ``photo``, or without one a random test image, resized to the model's size.

    Raises DataError if the image cannot be read.
    """
    if photo is not None:
        path = expanded(photo)
        try:
            return Example(model.form(read_image(path)), path.name)
        except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
            reason = unreadable_reason(error, str(path))
            raise DataError(f"cannot read {path} ({reason}); pass another --photo") from error
    split = test_split(model, options)
    position = int(np.random.default_rng(options.seed).integers(len(split)))
    label = model.classes[labels_of(split)[position]]
    return Example(images_of(split, [position])[0], f"test photo {position}", label)


def network_input(model: Model, example: Example) -> Tensor:
    """The normalised input (3, S, S) float32 of the network, on its device."""
    images = as_tensor(example.image[None]).permute(0, 3, 1, 2).to(model.device)
    return normalise(scale_to_one(images))[0]
