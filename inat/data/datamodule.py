"""Batches for Lightning: whole batches are gathered at once, each split with its own transform."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from inat.config import DataConfig
from inat.constants import TEST, VAL
from inat.data.augment import Transform, normalise, training_augmentation
from inat.data.splits import Split, Splits, load_splits

Batch = tuple[Tensor, Tensor]


class SplitDataset(Dataset[Batch]):
    """One split; ``__getitems__`` returns the whole batch: images (B, 3, H, W) uint8 and labels (B,) int64."""

    def __init__(self, split: Split, transform: Transform | None = None) -> None:
        self.split = split
        self.transform = transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = self.split.rows[indices]
        # The store is (H, W, 3); the permuted view of it is a channels-last batch already.
        images = torch.from_numpy(np.ascontiguousarray(self.split.images[rows])).permute(0, 3, 1, 2)
        if self.transform is not None:
            images = torch.stack([self.transform(image) for image in images])
        return images, torch.from_numpy(self.split.labels[rows])

    def __getitem__(self, index: int) -> Batch:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]


class EpochShuffle(Sampler[int]):
    """A permutation that depends on (seed, epoch) alone, so that a resumed trial sees the order it would have seen."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return iter(order.tolist())


class ImageDataModule(pl.LightningDataModule):
    """The three splits of one data set; only the training split is shuffled and, if asked, augmented."""

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
        """Shuffled training batches."""
        augment = training_augmentation(self.config.image_size) if self.config.use_augmentation else None
        dataset = SplitDataset(self.splits.train, augment)
        return self._loader(dataset, EpochShuffle(len(dataset), self.seed))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in order."""
        return self._loader(SplitDataset(self.splits.val))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the held-out test split, in order."""
        return self._loader(SplitDataset(self.splits.test))

    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """The loader of split "val" or "test"."""
        return {VAL: self.val_dataloader, TEST: self.test_dataloader}[split]()

    def _loader(self, dataset: SplitDataset, sampler: Sampler[int] | None = None) -> DataLoader[Batch]:
        # __getitems__ returns a finished batch, so there is nothing to collate; reading memory needs no workers.
        # Its own generator: else each pass draws a number from the global one, and a resumed training would differ.
        return DataLoader(
            dataset, self.batch_size, sampler=sampler, collate_fn=_as_is, num_workers=0, generator=torch.Generator()
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalise on the device the batch was moved to."""
        images, labels = batch
        return normalise(images), labels


def _as_is(batch: Any) -> Any:
    return batch
