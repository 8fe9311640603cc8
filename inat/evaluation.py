"""Scores of a trained classifier on a whole split."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from inat.arithmetic import autocast, resolve_precision
from inat.checkpoint import load_checkpoint
from inat.config import DataConfig
from inat.constants import TEST
from inat.data.datamodule import ImageDataModule
from inat.data.loader import Batch


@dataclass(frozen=True, slots=True)
class Answers:
    """What a classifier says of a split, in its order: ``logits`` (N, classes) float32, true ``labels`` (N,).

    ``data`` is the configuration that the split was read with, ``arithmetic`` the precision that "auto" meant here.
    """

    logits: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    data: DataConfig
    arithmetic: str


def answers(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> Answers:
    """The logits of a checkpoint on "val" or "test", in the arithmetic of its training.

    ``data_config`` says where the photographs are now, if not where the trial found them.
    """
    loaded = load_checkpoint(checkpoint)
    # At the size the network was trained for; without augmentation, as its larger images are not needed here.
    size = loaded.config.data.image_size
    where = replace(data_config or loaded.config.data, use_augmentation=False, image_size=size)
    data = ImageDataModule(where, loaded.config.optim.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier = loaded.classifier.to(device, memory_format=torch.channels_last)
    logits, labels = [], []
    with torch.inference_mode(), autocast(loaded.config.precision, device.type):
        for batch in data.evaluation_loader(split):
            images, true = data.on_after_batch_transfer(Batch(batch.images.to(device), batch.labels.to(device)))
            logits.append(classifier(images).float())
            labels.append(true)
    arithmetic = resolve_precision(loaded.config.precision)
    return Answers(torch.cat(logits).cpu(), torch.cat(labels).cpu(), loaded.classes, where, arithmetic)


def evaluate(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> dict[str, float]:
    """Loss and accuracy of a checkpoint on "val" or "test": ``{"test_loss": ..., "test_acc": ..., "images": n}``.

    ``data_config`` as ``answers`` takes it.
    """
    said = answers(checkpoint, split, data_config)
    count = len(said.labels)
    loss = functional.cross_entropy(said.logits, said.labels, reduction="sum")
    correct = int((said.logits.argmax(1) == said.labels).sum())
    return {f"{split}_loss": float(loss) / count, f"{split}_acc": correct / count, "images": count}
