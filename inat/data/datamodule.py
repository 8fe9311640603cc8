"""The three splits of a data set for Lightning."""

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from inat.config import DataConfig
from inat.constants import TEST, VAL
from inat.data.augment import augment, normalise, scale_to_one
from inat.data.loader import Batch, make_loader
from inat.data.splits import Split, Splits, load_splits


class ImageDataModule(pl.LightningDataModule):
    """The three splits of one data set; only the training split is shuffled and, if asked, augmented.

    Batches travel as uint8; they are augmented and normalised on the device.
    """

    def __init__(self, config: DataConfig, batch_size: int, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
        self.splits: Splits = load_splits(config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return self.splits.classes

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training batches, with augmentation those of the larger images."""
        return make_loader(self.splits.train, self.batch_size, self._device(), shuffle_seed=self.seed)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in order."""
        return self._in_order(self.splits.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the held-out test split, in order."""
        return self._in_order(self.splits.test)

    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """The loader of split "val" or "test"."""
        return {VAL: self.val_dataloader, TEST: self.test_dataloader}[split]()

    def _in_order(self, split: Split) -> DataLoader[Batch]:
        return make_loader(split, self.batch_size, self._device())

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """What the network sees, (B, 3, image_size, image_size) float32 and labels, on the batch's device."""
        return as_seen(batch, self.config), batch.labels


def as_seen(batch: Batch, config: DataConfig) -> Tensor:
    """The images of a batch as networks see them, (B, 3, image_size, image_size) float32: augmented if so meant."""
    given, aspects = batch.images, batch.aspects
    if aspects is None:
        images = scale_to_one(given)
    else:
        images = augment(given, aspects, config.image_size, light=config.light_augmentation)
    return normalise(images.contiguous(memory_format=torch.channels_last))
