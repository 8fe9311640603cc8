"""Evaluate a trained classifier on a whole split: logits, loss and accuracy."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from analysis.class_counts import constant_scores
from inat.config.trial import DataConfig
from inat.constants import CONSTANT_ACC, TEST, TRAIN, VAL, VAL_ACC
from inat.data.class_balance import class_counts
from inat.data.datamodule import ImageDataModule
from inat.data.splits import load_splits
from inat.models.validation_scores import ValidationScores
from inat.training.inference import BatchTooLargeError, Model, open_model
from inat.training.precision import resolve_precision


@dataclass(frozen=True, slots=True)
class SplitLogits:
    """Outputs of a classifier for a split, in its order: ``logits`` (N, classes) float32, true ``labels`` (N,).

    ``data`` is the configuration that the split was read with, ``arithmetic`` the resolved precision.
    """

    logits: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    data: DataConfig
    arithmetic: str


def evaluate(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> dict[str, float]:
    """The metrics of a checkpoint on split "val" or "test", and the accuracy of a constant answer.

    ``data_config``: see ``split_logits``.

    >>> scores = evaluate(Path("study/best.ckpt"), "val")
    >>> list(scores)
    ['val_loss', 'val_acc', 'images', 'val_balanced_acc', 'val_macro_f1', 'val_top2_acc', 'constant_accuracy']
    >>> scores["val_acc"] > 0.5, scores["images"]
    (True, 288)
    """
    outputs = split_logits(checkpoint, split, data_config)
    count = len(outputs.labels)
    loss = functional.cross_entropy(outputs.logits, outputs.labels, reduction="sum")
    correct = int((outputs.logits.argmax(1) == outputs.labels).sum())
    scores = {f"{split}_loss": float(loss) / count, f"{split}_acc": correct / count, "images": count}
    meter = ValidationScores(len(outputs.classes))
    meter.update(outputs.logits, outputs.labels)
    for name, value in meter.compute().items():
        scores.setdefault(name.replace(VAL, split, 1), float(value))
    counts = class_counts(load_splits(outputs.data))
    constant = constant_scores(counts[TRAIN], counts[split]).get(VAL_ACC)
    return scores | ({} if constant is None else {CONSTANT_ACC: constant})


def split_logits(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> SplitLogits:
    """The logits of a checkpoint on split "val" or "test", in the arithmetic of its training.

    ``data_config`` says where the images are now, if they were moved since the training. A batch that is too large for
    the device is halved.

    >>> outputs = split_logits(Path("study/best.ckpt"))
    >>> outputs.logits.shape, outputs.labels.shape, outputs.classes[:3]
    (torch.Size([360, 10]), torch.Size([360]), ('0', '1', '2'))
    """
    model = open_model(checkpoint)
    config = model.checkpoint.config
    # At the size of the training, and without augmentation, as the larger images for it are not needed here.
    own = {name: getattr(config.data, name) for name in ("folds", "fold", "repeat", "train_on_val")}
    data = replace(data_config or config.data, use_augmentation=False, image_size=model.image_size, **own)
    logits, labels = [], []
    for batch in ImageDataModule(data, model.batch_size).evaluation_loader(split):
        logits.append(_logits(model, batch.images).float())
        labels.append(batch.labels)
    arithmetic = resolve_precision(config.precision)
    return SplitLogits(torch.cat(logits).cpu(), torch.cat(labels).cpu(), model.classes, data, arithmetic)


def _logits(model: Model, images: Tensor) -> Tensor:
    """Logits (B, classes) of images (B, 3, S, S); in halves if the device has too little memory for all of them."""
    with suppress(BatchTooLargeError) if len(images) > 1 else nullcontext():
        return model.logits(images)
    return torch.cat([_logits(model, half) for half in images.chunk(2)])
