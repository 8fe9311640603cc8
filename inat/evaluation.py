"""Scores of a trained classifier on a whole split."""

from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

from inat.arithmetic import autocast
from inat.checkpoint import load_checkpoint
from inat.config import DataConfig
from inat.constants import TEST
from inat.data.datamodule import ImageDataModule
from inat.data.loader import Batch


def evaluate(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> dict[str, float]:
    """Loss and accuracy of a checkpoint on "val" or "test": ``{"test_loss": ..., "test_acc": ..., "images": n}``.

    ``data_config`` says where the photographs are now, if not where the trial found them.
    """
    loaded = load_checkpoint(checkpoint)
    # At the size the network was trained for; without augmentation, as its larger images are not needed here.
    size = loaded.config.data.image_size
    where = replace(data_config or loaded.config.data, use_augmentation=False, image_size=size)
    data = ImageDataModule(where, loaded.config.optim.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier = loaded.classifier.to(device, memory_format=torch.channels_last)
    loss, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
    count = 0
    with torch.inference_mode(), autocast(loaded.config.precision, device.type):
        for batch in data.evaluation_loader(split):
            images, labels = data.on_after_batch_transfer(Batch(batch.images.to(device), batch.labels.to(device)))
            logits = classifier(images)
            loss += functional.cross_entropy(logits.float(), labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
            count += len(labels)
    return {f"{split}_loss": float(loss) / count, f"{split}_acc": int(correct) / count, "images": count}
