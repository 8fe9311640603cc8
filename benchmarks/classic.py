"""The tutorial pipeline: ImageFolder, worker processes, torchvision transforms, float32, a log entry per step.

Its network is written down here as the space was published, so that a faster form of inat's network does not make
the tutorial faster, too.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchmetrics.functional.classification import multiclass_accuracy
from torchvision import transforms
from torchvision.datasets import ImageFolder

from inat.config.cnn import CNNConfig
from inat.constants import IMAGENET_MEAN, IMAGENET_STD, TRAIN

WORKERS = 2


@dataclass
class EpochClock(pl.Callback):
    """Seconds from the end of one epoch to the end of the next: training, validation and everything between."""

    ends: list[float] = field(default_factory=list)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Seconds of each epoch except the first, which warms up."""
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]


class ClassicModule(pl.LightningModule):
    """A classifier that logs loss and accuracy at every step; Adam."""

    def __init__(self, net: nn.Module, num_classes: int, learning_rate: float) -> None:
        super().__init__()
        self.net, self.num_classes, self.learning_rate = net, num_classes, learning_rate

    def _step(self, batch: list[Tensor], name: str) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = functional.cross_entropy(logits, labels)
        self.log(f"{name}_loss", loss, on_step=True, on_epoch=True)
        self.log(f"{name}_acc", multiclass_accuracy(logits, labels, self.num_classes), on_step=True, on_epoch=True)
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self._step(batch, "val")

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def network(config: CNNConfig, image_size: int, num_classes: int) -> nn.Sequential:
    """The published network of plain blocks: convolution, [batch norm], activation, max-pool; then dense and output."""
    activation = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish}[config.activation]
    layers: list[nn.Module] = []
    channels = 3
    for filters in config.filters:
        layers.append(nn.Conv2d(channels, filters, 3, padding=1))
        if config.batch_norm:
            layers.append(nn.BatchNorm2d(filters))
        layers += [activation(), nn.MaxPool2d(2)]
        channels = filters
    inputs = channels * (image_size // 2**config.conv_layers) ** 2
    layers += [nn.Flatten(), nn.Linear(inputs, config.num_neurons_dense), activation()]
    return nn.Sequential(*layers, nn.Dropout(config.dropout), nn.Linear(config.num_neurons_dense, num_classes))


def loaders(data: Path, size: int, batch_size: int, augment: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of training and validation images; a random fifth of the training images is for validation."""
    to_tensor = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    plain = transforms.Compose([transforms.Resize((size, size)), *to_tensor])
    augmented = transforms.Compose([
        transforms.RandomResizedCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
        transforms.RandomAffine(15, translate=(0.1, 0.1), shear=10),
        *to_tensor,
    ])  # fmt: skip
    train = ImageFolder(str(data / TRAIN), augmented if augment else plain)
    val = ImageFolder(str(data / TRAIN), plain)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).tolist()
    cut = len(train) // 5
    return (
        DataLoader(Subset(train, order[cut:]), batch_size, shuffle=True, num_workers=WORKERS),
        DataLoader(Subset(val, order[:cut]), batch_size, num_workers=WORKERS),
    )


def train(
    net: nn.Module, num_classes: int, learning_rate: float, parts: tuple[DataLoader[Any], DataLoader[Any]],
    epochs: int, folder: str,
) -> list[float]:  # fmt: skip
    """Train, and return the seconds of each epoch after the first."""
    clock = EpochClock()
    trainer = pl.Trainer(
        max_epochs=epochs, devices=1, logger=CSVLogger(folder), callbacks=[clock], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, plugins=[LightningEnvironment()],
    )  # fmt: skip
    trainer.fit(ClassicModule(net, num_classes, learning_rate), *parts)
    return clock.seconds
