"""Whole batches from arrays in memory: gathered on the GPU if the arrays fit there, else sent while it computes."""

import warnings
import weakref
from abc import abstractmethod
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
from inat.device import free_memory

# Share of the free GPU memory that the arrays of one trial may take; the rest is for networks and other trials.
GPU_COPY_SHARE = 0.25
EVEN_STREAM = 2  # number of the random stream that draws from classes evenly, beside those of the order and the views


class Batch(NamedTuple):
    """Images (B, 3, H, W) uint8 and labels (B,); or features (B, ...) instead of images.

    Images to augment come with ``aspects`` (B,): width / height of the originals.
    """

    images: Tensor
    labels: Tensor
    aspects: Tensor | None = None


class EpochShuffle(Sampler[int]):
    """A permutation that depends only on (seed, epoch), so a resumed trial sees the order of an uninterrupted one.

    With ``labels``, as many images are drawn with replacement, the same number from each class (one more from some of
    them if the numbers do not divide).
    """

    def __init__(self, size: int, seed: int, labels: NDArray[np.int64] | None = None) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.rows_of_class = [] if labels is None else [np.flatnonzero(labels == one) for one in np.unique(labels)]

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = self._drawn_evenly() if self.rows_of_class else self._generator().permutation(self.size)
        return iter(order.tolist())

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, *stream))

    def _drawn_evenly(self) -> NDArray[np.int64]:
        random, number = self._generator(EVEN_STREAM), len(self.rows_of_class)
        each = np.full(number, self.size // number)
        each[random.permutation(number)[: self.size % number]] += 1
        drawn = [random.choice(rows, count) for rows, count in zip(self.rows_of_class, each.tolist(), strict=True)]
        return random.permutation(np.concatenate(drawn))


class ArrayDataset(Dataset[Batch]):
    """A data set whose ``__getitems__`` gathers a whole batch at once, on ``device``."""

    device: torch.device

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch: ...

    @abstractmethod
    def shuffle(self, seed: int, labels: NDArray[np.int64] | None = None) -> EpochShuffle:
        """The order of training batches; with the ``labels`` of the rows, each class comes equally often."""

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(None if part is None else part[0] for part in self.__getitems__([index])))  # type: ignore[arg-type]

    def _send(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


class SplitDataset(ArrayDataset):
    """The images of one split, for training the larger ones that crops are cut from; on the GPU if they fit there."""

    def __init__(self, split: Split, device: torch.device) -> None:
        images = split.images if split.crops is None else split.crops.images
        on_gpu = gpu_copy(images, device)
        self.images = as_tensor(images) if on_gpu is None else on_gpu
        self.device = self.images.device
        self.rows, self.labels = self._send(split.rows), self._send(split.labels)
        self.aspects = None if split.crops is None else self._send(split.crops.aspects)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        rows = self.rows[torch.tensor(indices).to(self.device, non_blocking=True)]
        # The array is (N, H, W, 3), so its permuted view is already a channels-last batch.
        images = self.images.index_select(0, rows).permute(0, 3, 1, 2)
        return Batch(images, self.labels[rows], None if self.aspects is None else self.aspects[rows])

    def shuffle(self, seed: int, labels: NDArray[np.int64] | None = None) -> EpochShuffle:
        return EpochShuffle(len(self), seed, labels)


class PrefetchingLoader(DataLoader[Batch]):
    """Gathers and pins the next batch in a thread while the GPU computes on the current one."""

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
    """Batches of the images of ``split`` for ``device``: in order, or shuffled anew for each epoch."""
    dataset = SplitDataset(split, device)
    return batch_loader(dataset, batch_size, device, None if shuffle_seed is None else dataset.shuffle(shuffle_seed))


def batch_loader(
    dataset: ArrayDataset, batch_size: int, device: torch.device, order: EpochShuffle | None = None
) -> DataLoader[Batch]:
    """Batches of ``dataset`` for ``device``, in ``order``, else from the first row to the last.

    With an ``order``, a last batch of one image is left out: in every epoch it would be another image.
    """
    prefetch = device.type == "cuda" and dataset.device.type != "cuda"
    kind: type[DataLoader[Batch]] = PrefetchingLoader if prefetch else DataLoader
    # Batch norm refuses a batch of one vector, as it has nothing to normalise with. A batch size of 1 was asked for.
    last_is_single = order is not None and 1 == len(order) % batch_size < len(order)
    # Batches come whole, so there is nothing to collate; reading memory needs no workers.
    # With a generator of its own: otherwise each pass draws a number from the global generator, and a resumed training
    # would differ.
    return kind(
        dataset,
        batch_size,
        sampler=order,
        drop_last=last_is_single,
        collate_fn=_identity,
        num_workers=0,
        pin_memory=prefetch,
        generator=torch.Generator(),
    )


# GPU copies by the identity of the array; a copy is dropped together with its array.
_gpu_copies: dict[tuple[int, torch.device], tuple[weakref.ref[NDArray[Any]], Tensor]] = {}


def gpu_copy(array: NDArray[Any], device: torch.device) -> Tensor | None:
    """A copy of ``array`` on a GPU, which later trials of this process share; None on a CPU or if it does not fit."""
    if device.type != "cuda":
        return None
    key = id(array), device
    if key not in _gpu_copies:
        if not _fits(array.nbytes, device):
            return None
        try:
            copy = as_tensor(array).to(device)
        except torch.OutOfMemoryError:  # another trial took the memory first
            return None
        _gpu_copies[key] = weakref.ref(array, partial(_drop, _gpu_copies, key)), copy
    return _gpu_copies[key][1]


def gpu_copies(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor] | None:
    """Copies of all ``arrays`` on a GPU, as ``gpu_copy`` makes them; None, and no new copy, if not all of them fit."""
    new = sum(array.nbytes for array in arrays if (id(array), device) not in _gpu_copies)
    if device.type != "cuda" or not _fits(new, device):
        return None
    copies = [copy for array in arrays if (copy := gpu_copy(array, device)) is not None]
    return copies if len(copies) == len(arrays) else None


def _fits(new: int, device: torch.device) -> bool:
    free = free_memory(device)
    held = sum(copy.nbytes for (_, place), (_, copy) in _gpu_copies.items() if place == device)
    return held + new <= GPU_COPY_SHARE * (held + free)


def as_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of ``array``."""
    with warnings.catch_warnings():  # torch warns about read-only arrays; nothing here writes to them
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _drop(copies: dict[Any, Any], key: object, _: object) -> None:
    copies.pop(key, None)


def _identity(batch: Any) -> Any:
    return batch
