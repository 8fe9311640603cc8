"""The options of inat.interpret, and the images that its figures show: the test split, or one image file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inat.config.resume import check_named
from inat.config.trial import DataConfig
from inat.config.validation import expanded, raise_if_any
from inat.constants import CACHE_DIR, DIGITS, TORCHVISION
from inat.data.augment import normalise, scale_to_one
from inat.data.decode import Resize, read_image, unreadable_reason
from inat.data.loader import as_tensor
from inat.data.originals import read_originals
from inat.data.splits import Split, load_splits
from inat.errors import DataError
from inat.models.own_code import OwnModelOption
from inat.training.inference import Model

INTERPRET_DIR = "interpret"
Layout = Literal["published", "wide"]
SHARP_SIDE = 320  # pixels of a photo in a figure


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
    own_model: OwnModelOption = None
    """Python file with the network, if the search had --model; its code runs only if you name it here."""

    def __post_init__(self) -> None:
        raise_if_any([f"--seed {self.seed} is negative; choose 0 or more"] if self.seed < 0 else [])


@dataclass(frozen=True, slots=True)
class Example:
    """An image (S, S, 3) uint8 at the network's size, with its name and its class, "" if unknown.

    ``sharp`` (T, T, 3) uint8 shows the same part of the photo to people, with more pixels if the file has them.
    """

    image: NDArray[np.uint8]
    name: str
    label: str = ""
    sharp: NDArray[np.uint8] | None = None

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The image as figures show it."""
        return self.image if self.sharp is None else self.sharp


def test_split(model: Model, options: InterpretOptions) -> Split:
    """The test split at the model's image size.

    Raises the errors of ``test_config``, and DataError if the data is missing or its classes differ from the model's.
    """
    config = test_config(model, options)
    splits = load_splits(config)
    if splits.classes != model.classes:
        raise DataError(
            f"{config.data} has the classes {', '.join(splits.classes)}, but the model was trained on "
            f"{', '.join(model.classes)}; pass --data with a folder of these classes"
        )
    return splits.test


def test_config(model: Model, options: InterpretOptions) -> DataConfig:
    """How the test images are read: as in the training, or from the folder that ``options`` name.

    Raises StudyError if only the checkpoint, which somebody else may have made, names a folder to write decoded images
    to.
    """
    config = replace(model.checkpoint.config.data, use_augmentation=False)
    if options.data is not None:  # no fingerprint: other images than those of the study are allowed
        named = options.data == DIGITS or options.data.startswith(TORCHVISION)
        data = options.data if named else str(expanded(options.data).absolute())
        config = replace(config, data=data, fingerprint="")
    return replace(config, cache_dir=_cache_dir(config, options))


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
            read = read_image(path)
            return Example(model.form(read), path.name, sharp=sharpened(model.form, read))
        except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
            reason = unreadable_reason(error, str(path))
            raise DataError(f"cannot read {path} ({reason}); pass another --photo") from error
    split = test_split(model, options)
    position = int(np.random.default_rng(options.seed).integers(len(split)))
    label = model.classes[labels_of(split)[position]]
    (original,) = read_originals(test_config(model, options), [position])
    image = images_of(split, [position])[0]
    sharp = None if original.image is None else sharpened(model.form, original.image)
    return Example(image, original.name, label, sharp)


def sharpened(form: Resize, original: Image.Image) -> NDArray[np.uint8]:
    """What ``form`` keeps of a photo, with up to ``SHARP_SIDE`` px per side instead of the network's few."""
    size = max(form.size, min(SHARP_SIDE, max(original.size)))
    return replace(form, size=size, shorter_side=round(form.shorter_side * size / form.size))(original)


def network_input(model: Model, example: Example) -> Tensor:
    """The normalised input (3, S, S) float32 of the network, on its device."""
    images = as_tensor(example.image[None]).permute(0, 3, 1, 2).to(model.device)
    return normalise(scale_to_one(images))[0]
