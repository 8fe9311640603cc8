"""Whole batches from arrays in memory: gathered at once, on the GPU if the images fit there, else sent ahead."""

import warnings
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from inat.data.splits import Split

# Of the GPU memory that is free before, for all images of a trial; the rest is for networks and other trials.
GPU_COPY_SHARE = 0.25


class Batch(NamedTuple):
    """Images (B, 3, H, W) uint8 and labels (B,); with ``aspects`` (B,), to be augmented: width / height as taken."""

    images: Tensor
    labels: Tensor
    aspects: Tensor | None = None


class SplitDataset(Dataset[Batch]):
    """One split, its images on ``device`` if they fit there; ``__getitems__`` returns a whole batch."""

    def __init__(self, split: Split, device: torch.device) -> None:
        images = split.images if split.crops is None else split.crops.images
        on_device = gpu_copy(images, device)
        self.images = as_tensor(images) if on_device is None else on_device
        self.rows, self.labels = self._beside(split.rows), self._beside(split.labels)
        self.aspects = None if split.crops is None else self._beside(split.crops.aspects)

    def _beside(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.images.device)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = self.rows[torch.tensor(indices).to(self.rows.device, non_blocking=True)]
        # The store is (H, W, 3); the permuted view of it is a channels-last batch already.
        images = self.images.index_select(0, rows).permute(0, 3, 1, 2)
        return Batch(images, self.labels[rows], None if self.aspects is None else self.aspects[rows])

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(None if part is None else part[0] for part in self.__getitems__([index])))  # type: ignore[arg-type]


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


class PrefetchingLoader(DataLoader[Batch]):
    """Gathers and pins the next batch in a thread while the GPU computes on this one."""

    def __iter__(self) -> Any:
        batches = super().__iter__()
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = pool.submit(next, batches, None)
                yield batch


def make_loader(
    split: Split, batch_size: int, device: torch.device, shuffle_seed: int | None = None
) -> DataLoader[Batch]:
    """Batches of ``split`` for ``device``: in order, or shuffled anew each epoch from ``shuffle_seed``."""
    dataset = SplitDataset(split, device)
    order = None if shuffle_seed is None else EpochShuffle(len(dataset), shuffle_seed)
    return loader_of(dataset, order, batch_size, to_send=device.type == "cuda" and not dataset.images.is_cuda)


def loader_of(
    dataset: Dataset[Batch], order: EpochShuffle | None, batch_size: int, *, to_send: bool
) -> DataLoader[Batch]:
    """Batches of a dataset whose ``__getitems__`` returns them whole; ``to_send``: from memory to a GPU.

    Where the last batch of an ``order`` would be a single one, it is left out: another one in every epoch.
    """
    kind: type[DataLoader[Batch]] = PrefetchingLoader if to_send else DataLoader
    # Batch norm has nothing to norm a single vector by and refuses it. A batch size of 1 is what was asked for.
    last_is_single = order is not None and 1 == len(order) % batch_size < len(order)
    # There is nothing to collate, and reading memory needs no workers.
    # Its own generator: else each pass draws a number from the global one, and a resumed training would differ.
    return kind(
        dataset,
        batch_size,
        sampler=order,
        drop_last=last_is_single,
        collate_fn=_as_is,
        num_workers=0,
        pin_memory=to_send,
        generator=torch.Generator(),
    )


# By the identity of the array; a copy goes when its array does.
_residents: dict[tuple[int, torch.device], tuple[weakref.ref[NDArray[Any]], Tensor]] = {}


def gpu_copy(images: NDArray[Any], device: torch.device) -> Tensor | None:
    """A copy of ``images`` on a GPU, kept for the process's next trials; None if it would not fit, or on a CPU."""
    if device.type != "cuda":
        return None
    key = id(images), device
    if key not in _residents:
        if not _fits(images.nbytes, device):
            return None
        try:
            copy = as_tensor(images).to(device)
        except torch.OutOfMemoryError:  # another trial was faster
            return None
        _residents[key] = weakref.ref(images, partial(_forget, _residents, key)), copy
    return _residents[key][1]


def all_resident(parts: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor] | None:
    """Copies of all ``parts`` on a GPU as ``gpu_copy`` makes them; None, and no new copy, if they would not all fit."""
    new = sum(part.nbytes for part in parts if (id(part), device) not in _residents)
    if device.type != "cuda" or not _fits(new, device):
        return None
    copies = [copy for part in parts if (copy := gpu_copy(part, device)) is not None]
    return copies if len(copies) == len(parts) else None


def _fits(new: int, device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    held = sum(copy.nbytes for (_, where), (_, copy) in _residents.items() if where == device)
    return held + new <= GPU_COPY_SHARE * (held + free)


def as_tensor(images: NDArray[Any]) -> Tensor:
    """The same memory as a tensor."""
    with warnings.catch_warnings():  # torch warns of arrays that cannot be written; nothing writes to photographs
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(images)


def _forget(residents: dict[Any, Any], key: object, _: object) -> None:
    residents.pop(key, None)


def _as_is(batch: Any) -> Any:
    return batch
