"""Use a trained model from Python: classes and probabilities of photos, as frames."""

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from inat.api.calls import errors
from inat.config.validation import expanded
from inat.errors import ConfigError
from inat.models.own_code import allow_named
from inat.predict import CLASS, CONFIDENCE, ERROR, PHOTO, image_paths
from inat.training.ensemble import open_ensemble
from inat.training.inference import NOT_FINITE, Prediction, Predictor, open_model, predict_images

Picture = Image.Image | NDArray[Any] | torch.Tensor
EXPECTED = (
    "pass paths, images of Pillow, arrays (H, W, 3) or (N, H, W, 3), or tensors (3, H, W) or (N, 3, H, W), in uint8 or "
    "as floats from 0 to 1"
)


class TrainedModel:
    """A trained classifier, or an ensemble of several, as ``load_model`` returns it.

    Images may be given as paths of photos and of folders, images of Pillow, arrays ``(H, W, 3)`` or ``(N, H, W, 3)``,
    or tensors ``(3, H, W)`` or ``(N, 3, H, W)``; several ones as a list. Arrays and tensors hold uint8, or floats from
    0 to 1, not normalised. They may have any size: each image becomes a square as in the training.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __repr__(self) -> str:
        sizes = ", ".join(f"{form.size} px" for form in self._predictor.forms)
        return f"<TrainedModel: {len(self.classes)} classes, {sizes}, on {self._predictor.device}>"

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the columns of ``predict_proba``."""
        return list(self._predictor.classes)

    def predict(self, images: Any, *, batch_size: int | None = None) -> pd.DataFrame:
        """The most likely class of each image, and its probability.

        One row per image, by its path, or by its position where it has none; the columns are class, confidence and
        error. A photo that cannot be read has no class, and the reason in error.
        """
        rows = []
        for prediction in self._predictions(images, batch_size):
            scores = prediction.confidences
            best = None if scores is None else int(scores.argmax())
            rows.append({
                PHOTO: prediction.path,
                CLASS: None if best is None else self.classes[best],
                CONFIDENCE: np.nan if scores is None or best is None else float(scores[best]),
                ERROR: prediction.error,
            })  # fmt: skip
        return pd.DataFrame(rows, columns=[PHOTO, CLASS, CONFIDENCE, ERROR]).set_index(PHOTO)

    def predict_proba(self, images: Any, *, batch_size: int | None = None) -> pd.DataFrame:
        """The probabilities of all classes: one row per image as in ``predict``, one column per class.

        A photo that cannot be read has missing values.
        """
        missing = np.full(len(self.classes), np.nan, np.float32)
        found = list(self._predictions(images, batch_size))
        rows = [missing if one.confidences is None else one.confidences for one in found]
        index = pd.Index([one.path for one in found], name=PHOTO)
        return pd.DataFrame(np.reshape(rows, (-1, len(self.classes))), index=index, columns=self.classes)

    def _predictions(self, images: Any, batch_size: int | None) -> Iterator[Prediction]:
        paths, pictures = _sorted_out(images)
        size = batch_size or self._predictor.batch_size
        if size < 1:
            raise ConfigError(f"batch_size must be positive, got {batch_size}")
        with warnings.catch_warnings(), errors():
            warnings.simplefilter("ignore")  # of Pillow on unusual palettes and EXIF data
            if paths:
                yield from predict_images(self._predictor, image_paths(paths), size)
            for start in range(0, len(pictures), size):
                yield from self._classify(pictures[start : start + size], start)

    def _classify(self, pictures: Sequence[Image.Image], start: int) -> Iterator[Prediction]:
        batch = {form: np.stack([form(picture) for picture in pictures]) for form in self._predictor.forms}
        for number, row in enumerate(self._predictor.classify(batch), start):
            finite = bool(np.isfinite(row).all())
            yield Prediction(number, row if finite else None, "" if finite else NOT_FINITE)  # type: ignore[arg-type]


def load_model(
    path: str | PathLike[str], *, ensemble: bool = False, own_model: str | None = None, device: str | None = None
) -> TrainedModel:
    """Load a trained model.

    ``path``: a checkpoint, a study directory or its final/ directory, or what ``search`` and ``finalize`` return.
    ``ensemble``: the ensemble that finalize chose. ``own_model``: the Python file with the network, if the search had
    ``model``; its code runs only if you name it. ``device``: "cpu" or "cuda", by default the GPU if there is one.

    Raises StudyError if there is no model.
    """
    allow_named(own_model)
    place = expanded(Path(path))
    chosen = None if device is None else torch.device(device)
    with errors():
        return TrainedModel(open_ensemble(place, chosen) if ensemble else open_model(place, chosen))


def _sorted_out(images: Any) -> tuple[list[Path], list[Image.Image]]:
    """The paths, or the images of Pillow, that ``images`` is or contains."""
    items = (
        [images] if isinstance(images, str | PathLike | Image.Image | np.ndarray | torch.Tensor) else _listed(images)
    )
    paths = [Path(item) for item in items if isinstance(item, str | PathLike)]
    if paths and len(paths) < len(items):
        raise ConfigError("images has both paths and pictures; predict them in two calls")
    if paths:
        return paths, []
    return [], list(itertools.chain.from_iterable(_pictures(item) for item in items))


def _listed(images: Any) -> list[Any]:
    if not isinstance(images, Iterable):
        raise ConfigError(f"images is {images!r:.60}; {EXPECTED}")
    return list(images)


def _pictures(item: Any) -> Iterator[Image.Image]:
    """One image of Pillow, or those in an array or a tensor."""
    if isinstance(item, Image.Image):
        yield item.convert("RGB")
        return
    if isinstance(item, torch.Tensor):
        array = item.detach().cpu().numpy()
        array = np.moveaxis(array, -3, -1) if array.ndim in (3, 4) else array
    elif isinstance(item, np.ndarray):
        array = item
    else:
        raise ConfigError(f"images has {item!r:.60}; {EXPECTED}")
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise ConfigError(f"images has a {type(item).__name__} of shape {tuple(item.shape)}; {EXPECTED}")
    for one in array if array.ndim == 4 else [array]:
        yield Image.fromarray(_as_bytes(one))


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating) or not (array.min() >= 0 and array.max() <= 1):
        low, high = array.min(), array.max()
        raise ConfigError(f"images has values of {array.dtype} from {low:g} to {high:g}; {EXPECTED}")
    rounded: NDArray[np.uint8] = np.rint(array * 255).astype(np.uint8)
    return rounded
