"""Read what the kept checkpoints of a study answered on validation images: ``checkpoints/TRIAL/answers.json``."""

from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.files import is_inside, read_json
from analysis.schema import ANSWERS_JSON, CHECKPOINTS_DIR, LAST_DIR

FORMAT = 1  # version of answers.json; other versions are ignored
MAX_IMAGES = 100_000_000
MAX_CLASSES = 1_000_000
Right = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingAnswers:
    """The answers of one training of a trial.

    ``right`` (E, N): which of the N validation images it had right after each of its E ``epochs``. ``number`` is that
    of the training among those of its trial, from 1 on. Trainings with the same ``split`` have the same images, in
    order.

    The ``labels`` of the images and, of the best epoch, the classes ``predicted``, which labels are among the two most
    probable classes (``in_two``) and the ``losses``, all (N,): None in files of earlier versions.
    """

    number: int
    split: str
    epochs: tuple[int, ...]
    best_epoch: int
    right: Right
    labels: Classes | None = None
    predicted: Classes | None = None
    in_two: Right | None = None
    losses: npt.NDArray[np.float32] | None = None

    @property
    def best(self) -> Right:
        """Which images (N,) the training had right in its best epoch."""
        best: Right = self.right[self.epochs.index(self.best_epoch)]
        return best


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers of all trainings of a trial; without folds and repeats there is one."""

    trainings: tuple[TrainingAnswers, ...]

    @property
    def value(self) -> float:
        """The accuracy of the trial: that of the best epoch, averaged over its trainings."""
        return float(np.mean([training.best.mean() for training in self.trainings]))


def read_all_answers(directory: Path) -> dict[str, Answers]:
    """The answers of each trial of a study that has them, by trial id.

    A file that is damaged or of another version counts as missing: it is not worth more than the interval that the
    number of images alone gives.
    """
    folder = directory / CHECKPOINTS_DIR
    if not folder.is_dir() or not is_inside(folder, directory):
        return {}
    found = ((path.name, read_answers(path / ANSWERS_JSON, directory)) for path in sorted(folder.iterdir()))
    return {trial_id: answers for trial_id, answers in found if answers is not None}


def read_last_answers(directory: Path) -> Answers | None:
    """The answers of the last training of a study with a time plan; None without one."""
    found = list(read_all_answers(directory / LAST_DIR).values())
    return found[-1] if found else None


def read_answers(path: Path, inside: Path | None = None) -> Answers | None:
    """The answers in one file; None if it is missing or cannot be used."""
    try:
        content = read_json(path, inside=inside)
        if content["format"] != FORMAT:
            return None
        return Answers(tuple(_training(one) for one in content["trainings"])) if content["trainings"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _training(content: dict[str, Any]) -> TrainingAnswers:
    """One training; raises one of the errors that ``read_answers`` catches if anything is not as it must be."""
    images, epochs = content["images"], tuple(content["epochs"])
    numbers = (images, content["training"], content["best_epoch"], *epochs)
    if not all(type(number) is int for number in numbers) or not 0 < images <= MAX_IMAGES:
        raise ValueError("not a number of images or epochs")
    rows = [np.frombuffer(b64decode(text, validate=True), np.uint8) for text in content["right"]]
    if len(rows) != len(epochs) or any(len(row) != -(-images // 8) for row in rows):
        raise ValueError("not as many answers as images and epochs")
    right = np.unpackbits(np.stack(rows), axis=1, count=images).astype(bool)
    in_two, losses = (b64decode(content.get(name) or "", validate=True) for name in ("in_two", "losses"))
    if (in_two and len(in_two) != -(-images // 8)) or (losses and len(losses) != 4 * images):
        raise ValueError("not as many answers as images")
    answers = TrainingAnswers(
        content["training"], str(content["split"]), epochs, content["best_epoch"], right,
        _classes(content.get("labels"), images), _classes(content.get("predicted"), images),
        np.unpackbits(np.frombuffer(in_two, np.uint8), count=images).astype(bool) if in_two else None,
        np.frombuffer(losses, "<f4").astype(np.float32) if losses else None,
    )  # fmt: skip
    answers.epochs.index(answers.best_epoch)
    return answers


def _classes(numbers: Any, images: int) -> Classes | None:
    """The number of a class for each image; None if they are not kept."""
    if not numbers:
        return None
    if len(numbers) != images or not all(type(number) is int and 0 <= number < MAX_CLASSES for number in numbers):
        raise ValueError("not a class per image")
    return np.array(numbers, dtype=np.int64)
