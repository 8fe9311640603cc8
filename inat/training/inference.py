"""A trained classifier at work: which file is meant, and what it says of images, in arrays or in files."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inat.constants import BEST_CKPT, MODEL_CKPT
from inat.data.datamodule import network_input
from inat.data.decode import read_image, resize, unreadable_reason
from inat.data.image_store_builder import AT_ONCE, usable_cores
from inat.data.loader import Batch, as_tensor
from inat.errors import ConfigError, StudyError
from inat.training.checkpoint import LoadedCheckpoint, load_checkpoint
from inat.training.precision import autocast, is_out_of_memory

NO_NUMBER = "the network's output for it is no number"


class BatchTooLargeError(ConfigError):
    """The device has too little memory for as many images at a time."""


def model_file(path: Path) -> Path:
    """The checkpoint that ``path`` means: itself, the best.ckpt of a study directory, the model.ckpt of a final/ one.

    StudyError if there is none.
    """
    path = path.expanduser()
    if not path.exists():
        raise StudyError(f"{path} does not exist; pass a {BEST_CKPT}, a study directory or its final/ directory")
    if not path.is_dir():
        return path
    for name in (BEST_CKPT, MODEL_CKPT):
        if (path / name).is_file():
            return path / name
    raise StudyError(
        f"{path} has neither a {BEST_CKPT} nor a {MODEL_CKPT}; pass a study directory with a finished trial, its "
        "final/ directory, or a checkpoint file"
    )


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier on the device it computes on, with the configuration and class names stored beside its weights."""

    checkpoint: LoadedCheckpoint
    device: torch.device

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.checkpoint.classes

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that the network was trained on."""
        return self.checkpoint.config.data.image_size

    @property
    def batch_size(self) -> int:
        """Images that go through the network at a time, in training and in evaluation."""
        return self.checkpoint.config.optim.batch_size

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of uint8 images (B, 3, S, S), in the arithmetic of the training's validation.

        BatchTooLargeError if the device has too little memory for as many.
        """
        try:
            with torch.inference_mode(), autocast(self.checkpoint.config.precision, self.device.type):
                seen = network_input(Batch(images.to(self.device), torch.empty(0)), self.checkpoint.config.data)
                logits: Tensor = self.checkpoint.classifier(seen)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BatchTooLargeError(
                f"{len(images)} images of {self.image_size} px at a time are too many for the memory of this "
                f"{self.device.type.upper()}; pass a smaller --batch-size"
            ) from error
        return logits

    def confidences(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The softmax (B, classes) of the logits of ``images`` (B, S, S, 3)."""
        # The permuted view is a channels-last batch, as the store's are.
        logits = self.logits(as_tensor(images).permute(0, 3, 1, 2))
        softmax: NDArray[np.float32] = logits.float().softmax(1).cpu().numpy()
        return softmax


def open_model(path: Path, device: torch.device | None = None) -> Model:
    """The model that ``path`` means, on ``device``, by default the GPU if there is one; StudyError if it is none."""
    loaded = load_checkpoint(model_file(path))
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded.classifier.to(device, memory_format=torch.channels_last)
    return Model(loaded, device)


class Prediction(NamedTuple):
    """What a model says of a photograph: the confidence in each class (classes,), or why there is none."""

    path: str
    confidences: NDArray[np.float32] | None
    error: str = ""


def predict_images(model: Model, paths: Sequence[str], batch_size: int | None = None) -> Iterator[Prediction]:
    """Predictions of photographs in their order; what cannot be read is told and left out of the batches.

    So the batches are those of an evaluation over the same photographs. They are decoded in threads, at most a few
    hundred ahead, while the network is at work: Pillow releases the interpreter lock, and processes would have to load
    torch first.
    """
    size = batch_size or model.batch_size
    waiting: list[tuple[str, NDArray[np.uint8] | str]] = []
    readable = 0
    for path, image in _decoded(paths, model.image_size, size):
        waiting.append((path, image))
        readable += not isinstance(image, str)
        if readable == size:
            yield from _predicted(model, waiting)
            waiting, readable = [], 0
    yield from _predicted(model, waiting)


def _predicted(model: Model, photos: Sequence[tuple[str, NDArray[np.uint8] | str]]) -> Iterator[Prediction]:
    images = [image for _, image in photos if not isinstance(image, str)]
    rows = iter(list(model.confidences(np.stack(images))) if images else [])
    for path, image in photos:
        if isinstance(image, str):
            yield Prediction(path, None, image)
        else:
            row = next(rows)
            yield Prediction(path, row) if np.isfinite(row).all() else Prediction(path, None, NO_NUMBER)


def _decoded(paths: Sequence[str], size: int, ahead: int) -> Iterator[tuple[str, NDArray[np.uint8] | str]]:
    """Each path with its image (size, size, 3), or the reason why it cannot be read; at least ``ahead`` in advance."""
    cores = usable_cores()
    length = max(1, min(AT_ONCE, math.ceil(len(paths) / cores)))
    parts = (paths[start : start + length] for start in range(0, len(paths), length))
    pool = ThreadPoolExecutor(cores)
    try:
        coming = deque(pool.submit(_decode, part, size) for part in islice(parts, cores + math.ceil(ahead / length)))
        while coming:
            ready = coming.popleft().result()
            coming.extend(pool.submit(_decode, part, size) for part in islice(parts, 1))
            yield from ready
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, too


def _decode(paths: Sequence[str], size: int) -> list[tuple[str, NDArray[np.uint8] | str]]:
    decoded: list[tuple[str, NDArray[np.uint8] | str]] = []
    for path in paths:
        try:
            decoded.append((path, resize(read_image(path), size)))
        except Exception as error:  # Pillow's plugins raise nearly anything on a broken file
            decoded.append((path, unreadable_reason(error, path)))
    return decoded
