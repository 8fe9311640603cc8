"""Read what the best model of a study predicts on its validation images: validation_predictions.json."""

import io
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from analysis.files import read_json
from analysis.schema import PREDICTIONS_JSON

FORMAT = 1  # of the file; other versions are ignored
MAX_MISTAKES, MAX_PIXELS, MAX_SIDE = 12, 1_000_000, 160  # a stranger's file may have more
SHA256 = "sha256"  # in best.json: the checksum of best.ckpt


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrongly predicted image: its name, its classes, the confidence in the wrong one, and a small picture of it."""

    name: str
    true: str
    predicted: str
    confidence: float
    picture: Image.Image | None


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of best.ckpt on its validation images.

    ``cells``: number of images of each pair of true and predicted class that occurs. ``mistakes``: the most confident
    ones. ``fold``: the fold whose images they are, 0 without folds.
    """

    classes: list[str]
    cells: dict[tuple[int, int], int]
    mistakes: list[Mistake]
    fold: int = 0

    @property
    def confusion(self) -> pd.DataFrame:
        """Number of images of each true class (index) by predicted class (columns)."""
        counts = np.zeros((len(self.classes), len(self.classes)), dtype=int)
        for place, count in self.cells.items():
            counts[place] = count
        return pd.DataFrame(counts, index=self.classes, columns=self.classes)

    @property
    def images(self) -> int:
        """Number of validation images."""
        return sum(self.cells.values())

    @property
    def errors(self) -> int:
        """Number of images with a wrong prediction."""
        return sum(count for (true, predicted), count in self.cells.items() if true != predicted)


def read_predictions(directory: Path, best_json: Mapping[str, Any]) -> Predictions | None:
    """The predictions of a study directory; None if there are none of the model that ``best_json`` is about.

    Raises ValueError if the file is damaged.
    """
    try:
        content = read_json(directory / PREDICTIONS_JSON, inside=directory)
    except OSError:
        return None
    try:
        if content["format"] != FORMAT or content["checkpoint"] != best_json.get(SHA256):
            return None
        return _predictions(content)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{PREDICTIONS_JSON} is damaged ({reason}); remove it and resume the study") from error


def _predictions(content: dict[str, Any]) -> Predictions:
    classes = [str(name) for name in content["classes"]]
    cells = {
        (_place(true, classes), _place(predicted, classes)): int(count)
        for true, predicted, count in content["confusion"]
    }
    mistakes = [
        Mistake(str(one["name"]), classes[_place(one["true"], classes)], classes[_place(one["predicted"], classes)],
                float(one["confidence"]), _picture(one["picture"]))
        for one in content["mistakes"][:MAX_MISTAKES]
    ]  # fmt: skip
    return Predictions(classes, cells, mistakes, int(content["fold"]))


def _place(number: Any, classes: list[str]) -> int:
    if type(number) is not int or not 0 <= number < len(classes):
        raise IndexError(number)
    return number


def _picture(text: str) -> Image.Image | None:
    """The picture, decoded here: a page must not contain a stranger's file as it is; None if it is no JPEG."""
    try:
        with Image.open(io.BytesIO(b64decode(text)), formats=["JPEG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            picture = image.convert("RGB")
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
        return picture
    except Exception:  # Pillow raises nearly anything on a damaged file
        return None
