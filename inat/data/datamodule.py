"""Lightning data modules: the images of a data set, or the features that frozen stages have computed from them.

Both read arrays in memory, shuffle the training split anew for each epoch and go through the other splits in order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from rich.filesize import decimal
from torch import Tensor
from torch.utils.data import DataLoader

from inat.config.trial import DataConfig
from inat.constants import TEST, VAL
from inat.data.augment import augment, normalise, scale_to_one
from inat.data.feature_store import FeatureStore
from inat.data.fused_augment import prepare_on_gpu, why_plain
from inat.data.loader import ArrayDataset, EpochShuffle, Held, SplitDataset, batch_loader, pixels_of
from inat.data.resident import Gpu, Part, as_tensor, hold, room_of
from inat.data.sending import Batch
from inat.data.splits import Splits, load_splits
from inat.device import own_share

VIEW_STREAM = 1  # number of the random stream that draws views, beside the stream that draws the order
JOINED_BYTES = 2**26  # of all views together, up to which a training in the memory of the node copies them together


class ArrayDataModule(pl.LightningDataModule):
    """Loaders of a training and a validation split; ``dataset`` makes the data set of a split on a device.

    With ``balanced``, each class comes equally often in a training epoch. A GPU holds the splits if they fit into the
    share that this process has of it, the training split first; ``note`` says if that one does not.
    """

    dataset: Callable[[Any, torch.device, Held | None], ArrayDataset]
    note = ""
    holds = True  # unless the network needs the memory

    def __init__(
        self, train: Any, val: Any, classes: tuple[str, ...], batch_size: int, seed: int, balanced: bool = False
    ) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.classes = classes  # in the order of the labels
        self.batch_size = batch_size
        self.seed = seed
        self.balanced = balanced
        self._held: list[Held | None] = [None, None]  # of the training and the validation split

    @property
    def train_labels(self) -> NDArray[np.int64]:
        """Labels (N,) of the training images, in order."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches, shuffled anew for each epoch."""
        device = self._device()
        if device.type == "cuda":
            self.note = "; ".join(self._prepare(Gpu(device)))
        dataset, labels = self.dataset(self.train, device, self._held[0]), self.train_labels if self.balanced else None
        return batch_loader(dataset, self.batch_size, device, dataset.shuffle(self.seed, labels))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in order; from the memory of a GPU only beside a training, as one pass does not pay."""
        return self._in_order(self.val, self._held[1])

    def parts(self) -> tuple[list[Part], list[Part]]:
        """What an epoch reads of the training and of the validation split."""
        raise NotImplementedError

    def _prepare(self, gpu: Gpu) -> list[str]:
        """Hold on a GPU what fits there; returns what the user should know."""
        if not self.holds:
            return ["batches are sent to the GPU: the network needs its memory"]
        parts = self.parts()
        copies = hold(parts, gpu, own_share())
        self._held = [None if kept is None else Held(kept, wanted) for kept, wanted in zip(copies, parts, strict=True)]
        if copies[0] is not None:
            return []
        size, room = sum(part.nbytes for part in parts[0]), room_of(gpu, own_share())
        return [f"batches are sent to the GPU: {decimal(size)} to train on, and room for {decimal(room)}"]

    def _in_order(self, split: Any, held: Held | None = None) -> DataLoader[Batch]:
        return batch_loader(self.dataset(split, self._device(), held), self.batch_size, self._device())

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")


class ImageDataModule(ArrayDataModule):
    """The training, validation and test images of one data set; only training images are augmented.

    Batches are uint8 until they are on the device, which augments and normalises them.
    """

    dataset = SplitDataset

    def __init__(self, config: DataConfig, batch_size: int, seed: int = 0, balanced: bool = False) -> None:
        self.splits: Splits = load_splits(config)
        super().__init__(self.splits.train, self.splits.val, self.splits.classes, batch_size, seed, balanced)
        self.config = config

    @property
    def train_labels(self) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = self.splits.train.labels[self.splits.train.rows]
        return labels

    def parts(self) -> tuple[list[Part], list[Part]]:
        train, val = self.splits.train, self.splits.val
        if not self.config.folds:
            return [Part(pixels_of(train), train.rows)], [Part(pixels_of(val), val.rows)]
        both = np.union1d(train.rows, val.rows)  # which the trainings of all folds share
        return [Part(pixels_of(train), both)], [Part(pixels_of(val), both)]

    def _prepare(self, gpu: Gpu) -> list[str]:
        reason = why_plain(gpu.device)
        return super()._prepare(gpu) + ([f"batches are prepared in many small steps: {reason}"] if reason else [])

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the held-out test split, in order."""
        return self._in_order(self.splits.test)

    def evaluation_loader(self, split: str) -> DataLoader[Batch]:
        """The loader of split "val" or "test"."""
        return {VAL: self.val_dataloader, TEST: self.test_dataloader}[split]()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """Network input (B, 3, image_size, image_size) float32 and labels (B,), on the device of the batch."""
        return network_input(batch, self.config), batch.labels


def network_input(batch: Batch, config: DataConfig) -> Tensor:
    """Normalised images (B, 3, image_size, image_size) float32 of a batch; augmented if the batch has ``aspects``."""
    if batch.images.device.type == "cuda":
        return prepare_on_gpu(batch.images, batch.aspects, config.image_size, config.policy)
    if batch.aspects is None:
        images = scale_to_one(batch.images)
    else:
        images = augment(batch.images, batch.aspects, config.image_size, policy=config.policy)
    return normalise(images.contiguous(memory_format=torch.channels_last))


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one split: each view has rows (M, ...) with channels last, ``labels`` are (N,).

    ``rows`` (N,) are the rows of the split; without them, the split has all M rows, in order. ``computed`` is torch's
    name of the type that the frozen stages returned, "" for that of the stores: batches have it.
    """

    views: Sequence[FeatureStore]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None
    computed: str = ""


class FeatureDataset(ArrayDataset):
    """Features of one split: index ``view * N + row`` is one view of one image; ``held`` are all views on a GPU."""

    def __init__(self, features: Features, device: torch.device, held: Held | None = None) -> None:
        rows = [as_tensor(view.rows) for view in features.views] if held is None else held.copies
        self.views = [part.view(getattr(torch, view.dtype)) for part, view in zip(rows, features.views, strict=True)]
        self.device = self.views[0].device
        self.labels = torch.from_numpy(features.labels).to(self.device)
        self.rows = features.rows
        self.dtype = getattr(torch, features.computed) if features.computed else self.views[0].dtype
        self.joined = self._join() if len(self.views) > 1 else self.views[0]

    def _join(self) -> Tensor | None:
        """A copy of small views, one after the other: gathering from it takes a third of the time (41 us per batch)."""
        small = self.device.type == "cpu" and sum(view.nbytes for view in self.views) <= JOINED_BYTES
        return torch.cat(self.views) if small else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> Batch:
        view, row = np.divmod(np.array(indices), len(self))
        stored = row if self.rows is None else self.rows[row]
        if self.joined is None:
            features = self._gather(view, stored)
        else:
            features = self.joined.index_select(0, self._send(view * len(self.views[0]) + stored))
        return Batch(channels_first(features.to(self.dtype)), self.labels[self._send(row)])

    def _gather(self, view: NDArray[np.int64], stored: NDArray[np.int64]) -> Tensor:
        # Sorted by view, so that each view is gathered at once; ``positions`` restores the requested order.
        by_view = np.argsort(view, kind="stable")
        counts = np.bincount(view, minlength=len(self.views))
        rows = self._send(stored[by_view]).split(counts.tolist())
        gathered = [part.index_select(0, chosen) for part, chosen in zip(self.views, rows, strict=True)]
        positions = self._send(np.argsort(by_view))
        return torch.cat(gathered)[positions]

    def shuffle(self, seed: int, labels: NDArray[np.int64] | None = None) -> EpochShuffle:
        return ViewShuffle(len(self), seed, len(self.views), labels)


class ViewShuffle(EpochShuffle):
    """A shuffle that also draws one of ``views`` for every image; both depend only on (seed, epoch)."""

    def __init__(self, size: int, seed: int, views: int, labels: NDArray[np.int64] | None = None) -> None:
        super().__init__(size, seed, labels)
        self.views = views

    def __iter__(self) -> Iterator[int]:
        drawn = np.random.default_rng((self.seed, self.epoch, VIEW_STREAM)).integers(self.views, size=self.size)
        return (view * self.size + row for view, row in zip(drawn.tolist(), super().__iter__(), strict=True))


class FeatureDataModule(ArrayDataModule):
    """Training and validation ``Features``; in each epoch, each training image comes in one of its views."""

    dataset = FeatureDataset

    @property
    def train_labels(self) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = self.train.labels
        return labels

    def parts(self) -> tuple[list[Part], list[Part]]:
        train, val = ([Part(view.rows) for view in features.views] for features in (self.train, self.val))
        return train, val

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """Features (B, ...) and labels (B,), the input of the stages that train."""
        return batch.images, batch.labels


def channels_first(batch: Tensor) -> Tensor:
    """Permute (B, H, W, C) to (B, C, H, W) without a copy; other shapes are returned as they are."""
    return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch


def channels_last(batch: Tensor) -> Tensor:
    """Permute (B, C, H, W) to contiguous (B, H, W, C); other shapes become contiguous."""
    return (batch.permute(0, 2, 3, 1) if batch.ndim == 4 else batch).contiguous()
