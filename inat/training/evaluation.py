"""Scores of a trained classifier on a whole split."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from inat.config.trial import DataConfig
from inat.constants import TEST
from inat.data.datamodule import ImageDataModule
from inat.training.inference import BatchTooLargeError, Model, open_model
from inat.training.precision import resolve_precision


@dataclass(frozen=True, slots=True)
class SplitLogits:
    """What a classifier says of a split, in its order: ``logits`` (N, classes) float32, true ``labels`` (N,).

    ``data`` is the configuration that the split was read with, ``arithmetic`` the precision that "auto" meant here.
    """

    logits: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    data: DataConfig
    arithmetic: str


def split_logits(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> SplitLogits:
    """The logits of a checkpoint on "val" or "test", in the arithmetic of its training.

    ``data_config`` says where the photographs are now, if not where the trial found them. A batch that is too large for
    the device goes through it in parts.
    """
    model = open_model(checkpoint)
    config = model.checkpoint.config
    # At the size the network was trained for; without augmentation, as its larger images are not needed here.
    where = replace(data_config or config.data, use_augmentation=False, image_size=model.image_size)
    logits, labels = [], []
    for batch in ImageDataModule(where, model.batch_size).evaluation_loader(split):
        logits.append(_logits(model, batch.images).float())
        labels.append(batch.labels)
    arithmetic = resolve_precision(config.precision)
    return SplitLogits(torch.cat(logits).cpu(), torch.cat(labels).cpu(), model.classes, where, arithmetic)


def _logits(model: Model, images: Tensor) -> Tensor:
    """Logits (B, classes) of images (B, 3, S, S), in halves where the device has too little memory for all."""
    with suppress(BatchTooLargeError) if len(images) > 1 else nullcontext():
        return model.logits(images)
    return torch.cat([_logits(model, half) for half in images.chunk(2)])


def evaluate(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> dict[str, float]:
    """Loss and accuracy of a checkpoint on "val" or "test": ``{"test_loss": ..., "test_acc": ..., "images": n}``.

    ``data_config`` as ``split_logits`` takes it.
    """
    said = split_logits(checkpoint, split, data_config)
    count = len(said.labels)
    loss = functional.cross_entropy(said.logits, said.labels, reduction="sum")
    correct = int((said.logits.argmax(1) == said.labels).sum())
    return {f"{split}_loss": float(loss) / count, f"{split}_acc": correct / count, "images": count}
