"""Time an epoch of a network on this machine: a few steps of the loop that trials run, on images of noise."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from inat.config.small_resnet import ScratchNetwork
from inat.config.trial import DataConfig, TrialConfig
from inat.data.datamodule import ArrayDataModule, ImageDataModule
from inat.data.splits import Crops, Split
from inat.device import wait_for
from inat.models.factory import build_classifier, build_network
from inat.models.small_resnet import build_scratch
from inat.training.fit import silence_lightning, trainer_for
from inat.training.memory import keep_freed_memory

MOST_BATCHES = 40  # of training that are timed
LEAST_BATCHES = 2  # beside the first one, which is a warm-up
VAL_BATCHES = 3
FIRST_BATCH = 16  # images per batch of a first look, while nothing is known about the speed of this machine
FIRST_SHARE = 0.1  # of the seconds of a network, for that first look


@dataclass(frozen=True, slots=True)
class NetworkSpeed:
    """Seconds of a training image, of a validation image, and of a trial before its first epoch."""

    train_image: float
    val_image: float
    start: float

    def epoch(self, train: int, val: int) -> float:
        """Seconds of an epoch with these numbers of images."""
        return train * self.train_image + val * self.val_image


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """Floating-point operations of a forward pass of one image, and the number of parameters."""

    operations: int
    parameters: int


def size_of(config: TrialConfig, num_classes: int) -> NetworkSize:
    """The size of a network, counted without memory or time for its weights; a network of the user is built."""
    side = config.data.image_size
    if not isinstance(config.model, ScratchNetwork):
        return _size_of_built(config, num_classes)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_scratch(config.model, side, num_classes).eval()
        network(torch.empty(1, 3, side, side))
    return NetworkSize(counter.get_total_flops(), sum(parameter.numel() for parameter in network.parameters()))


def _size_of_built(config: TrialConfig, num_classes: int) -> NetworkSize:
    network, side = build_network(config, num_classes).eval(), config.data.image_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkSize(max(1, counter.get_total_flops()), parameters)


def measure_speeds(configs: Sequence[TrialConfig], num_classes: int, seconds: float) -> list[NetworkSpeed]:
    """Time each network for about ``seconds``, with torch's present number of threads.

    ``configs`` begin with the cheapest: its speed decides the batch size at which the next one is timed in time.
    """
    keep_freed_memory()
    silence_lightning()
    operations = [size_of(config, num_classes).operations for config in configs]
    first = _measure(configs[0], num_classes, min(configs[0].optim.batch_size, FIRST_BATCH), FIRST_SHARE * seconds)
    speeds, per_operation = [], first.train_image / operations[0]
    for config, own in zip(configs, operations, strict=True):
        affordable = seconds / (1 + LEAST_BATCHES) / max(per_operation * own, 1e-9)
        batch = max(2, min(config.optim.batch_size, int(affordable)))
        speeds.append(_measure(config, num_classes, batch, seconds))
        per_operation = speeds[-1].train_image / own
    return speeds


def _measure(config: TrialConfig, num_classes: int, batch: int, seconds: float) -> NetworkSpeed:
    config = replace(config, optim=replace(config.optim, batch_size=batch), max_epochs=1, stop_epoch=0)
    started = time.perf_counter()
    timer = _Timer(seconds)
    classifier = build_classifier(config, num_classes).to(memory_format=torch.channels_last)
    trainer = trainer_for(config, [timer], limit_val_batches=VAL_BATCHES)
    trainer.fit(classifier, datamodule=NoiseImages(config.data, batch, num_classes))
    start = time.perf_counter() - started - timer.epoch
    return NetworkSpeed(_typical(timer.train) / batch, _typical(timer.val) / batch, start)


def _typical(intervals: Sequence[float]) -> float:
    """The median without the first interval, which is a warm-up."""
    return statistics.median(intervals[1:] or intervals)


class _Timer(pl.Callback):
    """Times the batches of one epoch, and ends its training after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.train: list[float] = []
        self.val: list[float] = []
        self.epoch = 0.0
        self._seconds = seconds
        self._last = self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last = self._started = _now(pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # From the end of the last batch on, so that the time to gather and augment the images is part of it.
        self._add(self.train, pl_module)
        spent = self._last - self._started
        if len(self.train) > LEAST_BATCHES and spent > self._seconds:
            trainer.should_stop = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last = _now(pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(self.val, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epoch = _now(pl_module) - self._started

    def _add(self, intervals: list[float], module: pl.LightningModule) -> None:
        now = _now(module)
        intervals.append(now - self._last)
        self._last = now


class NoiseImages(ImageDataModule):
    """One batch of noise, over and over, in the form in which a data set comes."""

    def __init__(self, config: DataConfig, batch: int, num_classes: int) -> None:
        random = np.random.default_rng(0)

        def noise(side: int) -> Any:
            return random.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)

        labels = np.arange(batch, dtype=np.int64) % num_classes
        crops = Crops(noise(config.crop_size), np.ones(batch, np.float32)) if config.use_augmentation else None
        images = noise(config.image_size)
        train, val = (
            Split(images, labels, np.tile(np.arange(batch), batches), cut)
            for batches, cut in ((MOST_BATCHES, crops), (VAL_BATCHES, None))
        )
        classes = tuple(str(number) for number in range(num_classes))
        ArrayDataModule.__init__(self, train, val, classes, batch, seed=0)
        self.config = config


def _now(module: pl.LightningModule) -> float:
    wait_for(module.device)
    return time.perf_counter()
