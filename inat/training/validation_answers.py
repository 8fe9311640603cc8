"""Which validation images a training had right after each of its epochs, kept beside its checkpoint.

The validation of an epoch predicts a class for each image anyway, so nothing is computed twice. ``analysis`` reads the
file (``analysis.readers.answers``), which says how certain the differences between trials are.

The losses and the top two classes are kept for the best epoch alone, as they take more space than a bit per image.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from inat.constants import FOLD
from inat.data.splits import Split, load_splits
from inat.models.classifier import Classifier
from inat.training.epoch_recorder import recorder_of

FORMAT = 1


class ValidationAnswers(pl.Callback):
    """Collects the answers of all trainings of a trial; ``content`` is that of the file.

    It comes after the EpochRecorder. Its state is part of the checkpoints from which a trial goes on, so the file of a
    resumed trial is that of an uninterrupted one. A training on the validation images has no answers: they would say
    nothing.
    """

    def __init__(self) -> None:
        self._trainings: list[dict[str, Any]] = []

    @property
    def content(self) -> dict[str, Any]:
        """All answers as JSON values; empty before the first epoch.

        Each training has its number among those of its trial (``training``), the ``images`` of its validation split and
        a hash of them (``split``), its ``epochs``, and for each of them which images were ``right``: bits in base64,
        the first image first; and the ``labels`` of the images, as numbers. Of ``best_epoch``, whose weights are kept
        unless another training of the trial was better, there are the classes ``predicted``, the bits ``in_two`` of the
        images whose label is among the two most probable classes, and the ``losses``, as little-endian float32 in
        base64. The i-th image is the i-th one of the split in data/splits.csv.
        """
        return {"format": FORMAT, "trainings": self._trainings} if self._trainings else {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        recorder = recorder_of(trainer)
        assert isinstance(pl_module, Classifier)
        if recorder.config.data.train_on_val:
            return
        val = load_splits(recorder.config.data.without_augmentation()).val
        answers = pl_module.val_answers
        predicted = answers.predicted.numpy()
        training = self._begin_or_go_on(recorder.row, recorder.epoch, val)
        training["epochs"].append(recorder.epoch)
        training["right"].append(_bits(predicted == val.labels[val.rows]))
        if recorder.best_epoch == recorder.epoch:
            training |= {
                "best_epoch": recorder.epoch, "predicted": predicted.tolist(),
                "in_two": _bits(answers.in_two.numpy()), "losses": _base64(answers.losses.numpy().astype("<f4")),
            }  # fmt: skip

    def _begin_or_go_on(self, row: Mapping[str, Any], epoch: int, val: Split) -> dict[str, Any]:
        """The current training, without epochs that it repeats because it went back to a checkpoint."""
        number = int(row.get(FOLD, 1))
        self._trainings = [one for one in self._trainings if one["training"] <= number]
        if not self._trainings or self._trainings[-1]["training"] != number:
            self._trainings.append({
                "training": number, "images": len(val), "split": _hash_of(val), "epochs": [], "right": [],
                "labels": val.labels[val.rows].tolist(), "best_epoch": epoch, "predicted": [], "in_two": "",
                "losses": "",
            })  # fmt: skip
        training = self._trainings[-1]
        kept = sum(known < epoch for known in training["epochs"])
        training["epochs"], training["right"] = training["epochs"][:kept], training["right"][:kept]
        return training

    def state_dict(self) -> dict[str, Any]:
        return {"trainings": self._trainings}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._trainings = [dict(training) for training in state_dict["trainings"]]


def _bits(values: NDArray[np.bool_]) -> str:
    return _base64(np.packbits(values))


def _base64(values: NDArray[Any]) -> str:
    return b64encode(values.tobytes()).decode()


def _hash_of(split: Split) -> str:
    """A hash of which images are in a split, in which order, and of their classes."""
    rows, labels = split.rows.astype("<i8"), split.labels[split.rows].astype("<i8")
    return hashlib.sha256(rows.tobytes() + labels.tobytes()).hexdigest()[:16]
