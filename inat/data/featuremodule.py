"""Batches of kept features for Lightning: what frozen layers made of the photographs, instead of the photographs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from inat.data.featurestore import FeatureStore
from inat.data.loader import Batch, EpochShuffle, all_resident, as_tensor, loader_of

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
