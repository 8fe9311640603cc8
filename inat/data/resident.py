"""Keep what a training reads in every epoch in the memory of its GPU, if it fits there.

Copies belong to the process of the trial and serve its later trials. Only the rows that are read are copied. Whether
they fit depends on the GPU and on the trial's share of it, not on the trials before: their copies make room.

Trials that share a GPU are processes of their own, each with copies of its own. CUDA IPC could give all of them one
copy, but such memory ends with the process that made it, and Ray starts and ends these processes at any time; a process
that outlives them all would have to own the pixels, and its CUDA context alone takes half a gigabyte. So each trial may
fill its share of the GPU, and sends its images if they need more.
"""

import hashlib
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The part of a trial's share of the GPU that its images or features may take; the rest is for its network.
RESIDENT_SHARE = 0.5
CHUNK_BYTES = 64 * 2**20  # copied at a time: all rows at once would need as much memory of the host again


class Part(NamedTuple):
    """Rows of an array that a training reads in every epoch, in ascending order; without ``rows``, all of them."""

    array: NDArray[Any]
    rows: NDArray[np.int64] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return self.array.nbytes if self.rows is None else len(self.rows) * self.array[:1].nbytes

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where ``rows`` of the array are in a copy of the part."""
        return rows if self.rows is None else np.searchsorted(self.rows, rows)

    @property
    def key(self) -> tuple[int, bytes]:
        """The same for the same rows of the same array."""
        return id(self.array), b"" if self.rows is None else hashlib.sha256(self.rows.tobytes()).digest()


class Gpu:
    """The memory of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def total(self) -> int:
        """Bytes of the GPU."""
        return torch.cuda.mem_get_info(self.device)[1]

    def free(self) -> int:
        """Bytes that no process uses, or that torch keeps in this process for later."""
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + kept

    def copy(self, part: Part) -> Tensor:
        """The rows of ``part`` on the GPU; torch.OutOfMemoryError if it has no room for them."""
        source = as_tensor(part.array)
        rows = torch.arange(len(source)) if part.rows is None else torch.from_numpy(part.rows)
        copy = torch.empty((len(rows), *source.shape[1:]), dtype=source.dtype, device=self.device)
        step = max(1, CHUNK_BYTES // max(1, part.array[:1].nbytes))
        for chunk, chosen in zip(copy.split(step), rows.split(step), strict=True):
            chunk.copy_(source.index_select(0, chosen))
        return copy

    def release(self) -> None:
        """Give the memory of dropped copies back to the GPU."""
        torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True)
class _Copy:
    source: weakref.ref[NDArray[Any]]  # the copy is dropped with it
    tensor: Tensor


_copies: dict[tuple[tuple[int, bytes], torch.device], _Copy] = {}  # the least recently wanted first


def room_of(gpu: Gpu, share: float = 1.0) -> int:
    """Bytes that the images or features of a trial may take, which has a ``share`` of the GPU.

    Memory that other processes have taken beyond their shares counts, too; copies of earlier trials do not.
    """
    return int(RESIDENT_SHARE * min(share * gpu.total(), gpu.free() + _held_bytes(gpu)))


def hold(wanted: Sequence[Sequence[Part]], gpu: Gpu, share: float = 1.0) -> list[list[Tensor] | None]:
    """Copies of each of these groups of parts on ``gpu``; None for a group that does not fit there as a whole.

    Room goes to the first groups first. Copies of earlier trials stay until their room is needed.
    """
    room, used = room_of(gpu, share), 0
    chosen: list[bool] = []
    keys: set[tuple[int, bytes]] = set()
    for group in wanted:
        new = {part.key: part.nbytes for part in group if part.key not in keys}
        fits = used + sum(new.values()) <= room
        chosen.append(fits)
        if fits:
            used += sum(new.values())
            keys |= new.keys()
    _make_room(gpu, keys, room - used)
    return [_copies_of(group, gpu) if fits else None for group, fits in zip(wanted, chosen, strict=True)]


def _make_room(gpu: Gpu, needed: set[tuple[int, bytes]], room: int) -> None:
    """Drop copies that are not ``needed``, the oldest first, until the others fit into ``room``."""
    spare = [key for key in _copies if key[1] == gpu.device and key[0] not in needed]
    size = sum(_copies[key].tensor.nbytes for key in spare)
    dropped = False
    for key in spare:
        if size <= room:
            break
        size -= _copies.pop(key).tensor.nbytes
        dropped = True
    if dropped:
        gpu.release()


def _copies_of(parts: Sequence[Part], gpu: Gpu) -> list[Tensor] | None:
    try:
        return [_copy_of(part, gpu) for part in parts]
    except torch.OutOfMemoryError:  # another process has taken the memory meanwhile
        for part in parts:  # some of them are useless without the others
            _copies.pop((part.key, gpu.device), None)
        return None


def _copy_of(part: Part, gpu: Gpu) -> Tensor:
    key = part.key, gpu.device
    copy = _copies.pop(key, None)
    if copy is None:
        copy = _Copy(weakref.ref(part.array, partial(_drop, _copies, key)), gpu.copy(part))
    _copies[key] = copy  # now the most recently wanted
    return copy.tensor


def drop_copies() -> None:
    """Drop all copies, for example because a network needs their room; those in use go with their data set."""
    _copies.clear()


def _held_bytes(gpu: Gpu) -> int:
    return sum(copy.tensor.nbytes for (_, device), copy in _copies.items() if device == gpu.device)


def _drop(copies: dict[Any, Any], key: object, _: object) -> None:
    copies.pop(key, None)


def as_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of ``array``."""
    with warnings.catch_warnings():  # torch warns about read-only arrays; nothing here writes to them
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
