"""The three splits of a data set for Lightning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from inat.config.trial import DataConfig
from inat.constants import TEST, VAL
from inat.data.augment import augment, normalise, scale_to_one
from inat.data.feature_store import FeatureStore
from inat.data.loader import Batch, EpochShuffle, all_resident, as_tensor, loader_of, make_loader
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
        return network_input(batch, self.config), batch.labels


def network_input(batch: Batch, config: DataConfig) -> Tensor:
    """The images of a batch as networks see them, (B, 3, image_size, image_size) float32: augmented if so meant."""
    given, aspects = batch.images, batch.aspects
    if aspects is None:
        images = scale_to_one(given)
    else:
        images = augment(given, aspects, config.image_size, light=config.light_augmentation)
    return normalise(images.contiguous(memory_format=torch.channels_last))


VIEW_STREAM = 1  # of random numbers, beside that of the order


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one split: each of ``views`` has rows (N, ...) with channels last, ``labels`` are (N,)."""

    views: Sequence[FeatureStore]
    labels: NDArray[np.int64]


class FeatureDataset(Dataset[Batch]):
    """Index ``view * N + row`` is one view of one photograph; ``__getitems__`` returns a whole batch.

    On ``device`` if all views fit there.
    """

    def __init__(self, features: Features, device: torch.device) -> None:
        stored = [view.rows for view in features.views]
        copies = all_resident(stored, device)
        self.on_device = copies is not None
        rows = copies or [as_tensor(part) for part in stored]
        self.views = [part.view(getattr(torch, view.dtype)) for part, view in zip(rows, features.views, strict=True)]
        self.labels = torch.from_numpy(features.labels).to(self.views[0].device)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Batch:
        view, row = divmod(np.array(indices), len(self))
        # Sorted by view, each is gathered at once; ``places`` puts the photographs back in the order asked for.
        order = np.argsort(view, kind="stable")
        counts = np.bincount(view, minlength=len(self.views))
        rows = self._beside(row[order]).split(counts.tolist())
        gathered = [part.index_select(0, chosen) for part, chosen in zip(self.views, rows, strict=True)]
        places = self._beside(np.argsort(order))
        images = torch.cat(gathered)[places] if len(gathered) > 1 else gathered[0]
        return Batch(channels_first(images), self.labels[self._beside(row)])

    def _beside(self, numbers: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(numbers).to(self.labels.device, non_blocking=True)

    def __getitem__(self, index: int) -> Batch:
        batch = self.__getitems__([index])
        return Batch(batch.images[0], batch.labels[0])


class ViewShuffle(EpochShuffle):
    """A shuffle that also draws a view of every photograph; both depend on (seed, epoch) alone."""

    def __init__(self, size: int, seed: int, views: int) -> None:
        super().__init__(size, seed)
        self.views = views

    def __iter__(self) -> Iterator[int]:
        drawn = np.random.default_rng((self.seed, self.epoch, VIEW_STREAM)).integers(self.views, size=self.size)
        return (view * self.size + row for view, row in zip(drawn.tolist(), super().__iter__(), strict=True))


class FeatureDataModule(pl.LightningDataModule):
    """Training and validation features; shuffled as ImageDataModule shuffles its images."""

    def __init__(self, train: Features, val: Features, classes: tuple[str, ...], batch_size: int, seed: int) -> None:
        super().__init__()
        self.train, self.val, self.classes = train, val, classes
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches, each photograph in one of its views."""
        order = ViewShuffle(len(self.train.labels), self.seed, len(self.train.views))
        return self._loader(self.train, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in order."""
        return self._loader(self.val, None)

    def _loader(self, features: Features, order: EpochShuffle | None) -> DataLoader[Batch]:
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        dataset = FeatureDataset(features, device)
        to_send = device.type == "cuda" and not dataset.on_device
        return loader_of(dataset, order, self.batch_size, to_send=to_send)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """Features (B, ...) and labels (B,), as the network's last stages take them."""
        return batch.images, batch.labels


def channels_first(batch: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W) in the same memory; anything else as it is."""
    return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch


def channels_last(batch: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C), contiguous; anything else as it is."""
    return (batch.permute(0, 2, 3, 1) if batch.ndim == 4 else batch).contiguous()
