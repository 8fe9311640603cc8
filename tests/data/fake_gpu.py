"""A GPU that is made of numbers: its copies are tensors of the CPU."""

import torch
from torch import Tensor

from inat.data.resident import Gpu, Part


class FakeGpu(Gpu):
    """A GPU with ``total`` bytes, of which other processes use ``used``; lists the bytes of every copy in ``copied``.

    ``room`` is what a copy may take before the GPU runs out of memory.
    """

    def __init__(self, total: int, used: int = 0, room: int = 10**18) -> None:
        super().__init__(torch.device("cpu"))
        self.bytes, self.used, self.room = total, used, room
        self.copied: list[int] = []
        self.releases = 0

    def total(self) -> int:
        return self.bytes

    def free(self) -> int:
        from inat.data import resident

        return self.bytes - self.used - sum(copy.tensor.nbytes for copy in resident._copies.values())

    def copy(self, part: Part) -> Tensor:
        if part.nbytes > self.room:
            raise torch.OutOfMemoryError
        self.copied.append(part.nbytes)
        return super().copy(part)

    def release(self) -> None:
        self.releases += 1
