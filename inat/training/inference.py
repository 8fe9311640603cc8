"""Use a trained classifier: find its checkpoint, and classify images in arrays or in files."""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inat.config.validation import expanded
from inat.constants import BEST_CKPT, MODEL_CKPT
from inat.data.datamodule import network_input
from inat.data.decode import IMAGES_PER_TASK, Resize, form_of, read_image, unreadable_reason
from inat.data.loader import Batch, as_tensor
from inat.device import this_device
from inat.errors import ConfigError, StudyError
from inat.machine import usable_cores
from inat.training.checkpoint import LoadedCheckpoint, load_checkpoint
from inat.training.memory import is_out_of_memory
from inat.training.precision import autocast

NOT_FINITE = "the output of the network for it is infinite or NaN"
Images = Mapping[Resize, NDArray[np.uint8]]  # one image (S, S, 3), or a batch (B, S, S, 3), in each form
Decoded = tuple[str, Images | str]  # a path and its image, or why it is unreadable


class BatchTooLargeError(ConfigError):
    """The device has too little memory for a batch of this size."""


class Predictor(Protocol):
    """What classifies images: a Model, or an Ensemble of several."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def batch_size(self) -> int: ...

    @property
    def forms(self) -> tuple[Resize, ...]:
        """The forms in which it needs each image."""

    def classify(self, images: Images) -> NDArray[np.float32]:
        """Confidences (B, classes) of a batch in all ``forms``."""


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded checkpoint on the device that computes with it."""

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
    def form(self) -> Resize:
        """How a photo becomes an image for the network."""
        return form_of(self.checkpoint.config.data)

    @property
    def forms(self) -> tuple[Resize, ...]:
        """See Predictor."""
        return (self.form,)

    @property
    def batch_size(self) -> int:
        """Images per batch in the training, which is the default for inference, too."""
        return self.checkpoint.config.optim.batch_size

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of uint8 images (B, 3, S, S), in the arithmetic of validation during the training.

        With the hyperparameter ``test_time_flip``, they are logarithms of the mean probabilities of each image and its
        mirror image. Raises BatchTooLargeError if the device has too little memory.
        """
        try:
            with torch.inference_mode(), autocast(self.checkpoint.config.precision, self.device.type):
                normalised = network_input(Batch(images.to(self.device), torch.empty(0)), self.checkpoint.config.data)
                logits = self._forward(normalised)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BatchTooLargeError(
                f"{len(images)} images of {self.image_size} px at a time are too many for the memory of this "
                f"{self.device.type.upper()}; pass a smaller --batch-size"
            ) from error
        return logits

    def _forward(self, normalised: Tensor) -> Tensor:
        logits: Tensor = self.checkpoint.classifier(normalised)
        if not self.checkpoint.config.optim.test_time_flip:
            return logits
        mirrored = self.checkpoint.classifier(normalised.flip(-1).contiguous(memory_format=torch.channels_last))
        both = torch.stack([logits, mirrored]).float().log_softmax(-1)
        return both.logsumexp(0) - math.log(2)

    def confidences(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Softmax (B, classes) of the logits of ``images`` (B, S, S, 3)."""
        # The permuted view is a channels-last batch, like the batches of the image store.
        logits = self.logits(as_tensor(images).permute(0, 3, 1, 2))
        softmax: NDArray[np.float32] = logits.float().softmax(1).cpu().numpy()
        return softmax

    def classify(self, images: Images) -> NDArray[np.float32]:
        """See Predictor."""
        return self.confidences(images[self.form])


def open_model(path: Path, device: torch.device | None = None) -> Model:
    """Load the model of a checkpoint, a study directory or its final/ directory.

    ``device`` is by default the GPU if there is one. Raises StudyError if there is no model.

    >>> model = open_model(Path("study"))
    >>> model.image_size, model.batch_size, len(model.classes)
    (16, 64, 10)
    >>> model.confidences(np.zeros((1, 16, 16, 3), np.uint8)).sum().round(3)
    np.float32(1.0)
    """
    loaded = load_checkpoint(model_file(path))
    device = device or this_device()
    loaded.classifier.to(device, memory_format=torch.channels_last)
    torch.set_num_threads(
        min(torch.get_num_threads(), usable_cores())
    )  # torch passes over the CPU quota of a container
    return Model(loaded, device)


def model_file(path: Path) -> Path:
    """The checkpoint file of a model: ``path`` itself, or best.ckpt or model.ckpt in the directory ``path``.

    Raises StudyError if there is none.

    >>> model_file(Path("study"))
    PosixPath('study/best.ckpt')
    """
    path = expanded(path)
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


class Prediction(NamedTuple):
    """The confidences (classes,) of one image, or None and the reason in ``error``."""

    path: str
    confidences: NDArray[np.float32] | None
    error: str = ""


def predict_images(model: Predictor, paths: Sequence[str], batch_size: int | None = None) -> Iterator[Prediction]:
    """Predict image files in their order; an unreadable file gives a Prediction with the reason.

    Unreadable files take no place in a batch, so the batches are those of an evaluation of the same images. Threads
    decode at most a few hundred images ahead while the network computes: Pillow releases the interpreter lock, and
    processes would have to load torch first.

    >>> for prediction in predict_images(open_model(Path("study")), ["photos/0.png", "photos/1.png", "missing.png"]):
    ...     if prediction.confidences is None:
    ...         print(prediction.path, prediction.error)
    ...     else:
    ...         print(prediction.path, prediction.confidences.shape)
    photos/0.png (10,)
    photos/1.png (10,)
    missing.png No such file or directory
    """
    size = batch_size or model.batch_size
    waiting: list[Decoded] = []
    readable = 0
    for path, image in _decode_ahead(paths, model.forms, size):
        waiting.append((path, image))
        readable += not isinstance(image, str)
        if readable == size:
            yield from _predict_batch(model, waiting)
            waiting, readable = [], 0
    yield from _predict_batch(model, waiting)


def _predict_batch(model: Predictor, decoded: Sequence[Decoded]) -> Iterator[Prediction]:
    images = [image for _, image in decoded if not isinstance(image, str)]
    batch = {form: np.stack([image[form] for image in images]) for form in model.forms if images}
    rows = iter(list(model.classify(batch)) if images else [])
    for path, image in decoded:
        if isinstance(image, str):
            yield Prediction(path, None, image)
        else:
            row = next(rows)
            yield Prediction(path, row) if np.isfinite(row).all() else Prediction(path, None, NOT_FINITE)


def _decode_ahead(paths: Sequence[str], forms: Sequence[Resize], ahead: int) -> Iterator[Decoded]:
    """Decode images in these ``forms`` in threads, at least ``ahead`` images in advance."""
    cores = usable_cores()
    length = max(1, min(IMAGES_PER_TASK, math.ceil(len(paths) / cores)))
    tasks = (paths[start : start + length] for start in range(0, len(paths), length))
    pool = ThreadPoolExecutor(cores)
    try:
        coming = deque(pool.submit(_decode, task, forms) for task in islice(tasks, cores + math.ceil(ahead / length)))
        while coming:
            ready = coming.popleft().result()
            coming.extend(pool.submit(_decode, task, forms) for task in islice(tasks, 1))
            yield from ready
    finally:
        pool.shutdown(cancel_futures=True)  # also after Ctrl-C


def _decode(paths: Sequence[str], forms: Sequence[Resize]) -> list[Decoded]:
    decoded: list[Decoded] = []
    for path in paths:
        try:
            image = read_image(path)
            decoded.append((path, {form: form(image) for form in forms}))
        except Exception as error:  # Pillow's plugins raise almost any exception for a broken file
            decoded.append((path, unreadable_reason(error, path)))
    return decoded
