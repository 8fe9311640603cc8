"""Whole batches from arrays in memory: gathered on the GPU if the arrays fit there, else sent while it computes."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from inat.data.resident import Gpu, Part, hold
from inat.data.resident import as_tensor as as_tensor
from inat.data.sending import Batch as Batch
from inat.data.sending import Gather, PrefetchingLoader, threads_for_gathering
from inat.data.splits import Split
from inat.device import own_share

MIRROR_STREAM = 3  # number of the random stream that says which images are mirrored in the first epoch
MIRRORS = np.array([0, 1, -1], np.float32)  # ``aspects`` by what an index of MirrorShuffle says
EVEN_STREAM = 2  # number of the random stream that draws from classes evenly, beside those of the order and the views


class Held(NamedTuple):
    """Copies on a GPU, of these parts."""

    copies: list[Tensor]
    parts: list[Part]


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


class MirrorShuffle(EpochShuffle):
    """A shuffle that mirrors each image in every second epoch; in the first one, a random half of them.

    An image and its mirror image then come equally often, where chance would repeat one of them in half of the cases:
    the alternating flip of airbench (https://arxiv.org/abs/2404.00498). Index ``(1 + mirror) * size + row`` says both.
    """

    def __iter__(self) -> Iterator[int]:
        mirrored = np.random.default_rng((self.seed, MIRROR_STREAM)).integers(2, size=self.size) ^ (self.epoch % 2)
        return ((1 + mirrored[row]) * self.size + row for row in super().__iter__())


class ArrayDataset(Dataset[Batch]):
    """A data set whose ``__getitems__`` gathers a whole batch at once, on ``device``."""

    device: torch.device
    gather = Gather()

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
    """The images of one split, for training the larger ones that crops are cut from; ``held`` are those on a GPU."""

    def __init__(self, split: Split, device: torch.device, held: Held | None = None) -> None:
        self.device = torch.device("cpu") if held is None else device
        self._pixels = pixels_of(split)
        self.images = as_tensor(self._pixels) if held is None else held.copies[0]
        self._held = held is not None
        self._rows = split.rows if held is None else held.parts[0].places(split.rows)
        self.labels = self._send(split.labels[split.rows])
        self.aspects = None if split.crops is None else self._send(split.crops.aspects[split.rows])
        self.rows = self._send(self._rows)
        self._mirrors = split.crops is not None and split.crops.mirrors

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        places, aspects = np.array(indices), None
        if self._mirrors:
            mirrored, places = np.divmod(places, len(self))
            aspects = self._send(MIRRORS[mirrored])
        chosen = self._send(places)
        if self._held:
            images = self.images.index_select(0, self.rows[chosen])
        else:
            images = self.gather(self._pixels, self._rows[places])
        if self.aspects is not None and aspects is None:
            aspects = self.aspects[chosen]
        # The array is (N, H, W, 3), so its permuted view is already a channels-last batch.
        return Batch(images.permute(0, 3, 1, 2), self.labels[chosen], aspects)

    def shuffle(self, seed: int, labels: NDArray[np.int64] | None = None) -> EpochShuffle:
        # An image that is drawn several times in an epoch is to be mirrored in some of them: by chance, not in turn.
        in_turn = self._mirrors and labels is None
        return (MirrorShuffle if in_turn else EpochShuffle)(len(self), seed, labels)


def pixels_of(split: Split) -> NDArray[np.uint8]:
    """The array that batches of ``split`` are read from."""
    return split.images if split.crops is None else split.crops.images


def make_loader(
    split: Split, batch_size: int, device: torch.device, shuffle_seed: int | None = None
) -> DataLoader[Batch]:
    """Batches of the images of ``split`` for ``device``: in order, or shuffled anew for each epoch."""
    parts = [Part(pixels_of(split), split.rows)]
    copies = hold([parts], Gpu(device), own_share())[0] if device.type == "cuda" else None
    dataset = SplitDataset(split, device, None if copies is None else Held(copies, parts))
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
    loader = kind(
        dataset,
        batch_size,
        sampler=order,
        drop_last=last_is_single,
        collate_fn=_identity,
        num_workers=0,
        generator=torch.Generator(),
    )
    if isinstance(loader, PrefetchingLoader):
        loader.device = device
        dataset.gather = Gather(threads_for_gathering(), pinned=True)
    return loader


def _identity(batch: Any) -> Any:
    return batch
