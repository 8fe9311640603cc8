import subprocess
import sys

import numpy as np
import pytest
import torch

from inat.training.memory import ENVIRONMENT, is_out_of_memory

# Allocates and frees 32 MB; prints the page faults of ten times, after the heap has grown, and the resident memory.
CHURN = """
import os, resource, sys
from inat.training import memory
if sys.argv[1] == "kept":
    memory.keep_freed_memory()
import torch
torch.set_num_threads(1)
def use():
    torch.ones(8 * 2**20)
for _ in range(20):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
memory.release_freed_memory()
resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
print(faults, resident)
"""


def churn(how: str, **environment: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", CHURN, how], env={"PATH": "", **environment}, capture_output=True, text=True, check=True
    )
    faults, resident = map(int, done.stdout.split())
    return faults, resident


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_kept_until_it_is_released():
    fresh, least = churn("fresh")
    kept, after = churn("kept")
    inherited, _ = churn("fresh", **ENVIRONMENT)
    assert fresh > 1000  # one fault per page of 4 kB, or of 2 MB with huge pages
    assert kept < fresh / 20
    assert inherited < fresh / 20
    assert after < least + 40e6


FROZEN = """
import gc, weakref
from inat.training.memory import collect_garbage
class Ring:
    def __init__(self):
        self.me = self
collect_garbage()
assert gc.get_freeze_count() > 0
ring = weakref.ref(Ring())
collect_garbage()
assert ring() is None
"""


def test_only_objects_of_the_first_collection_are_excluded_from_later_ones():
    subprocess.run([sys.executable, "-c", FROZEN], check=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (np._core._exceptions._ArrayMemoryError((2,), np.dtype("float32")), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_every_kind_of_out_of_memory_error_is_recognised(error, expected):
    assert is_out_of_memory(error) == expected


def test_an_impossible_tensor_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
