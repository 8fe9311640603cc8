import subprocess
import sys

import pytest

# Uses and frees 32 MB ten times and prints how often the kernel had to bring in a page, once the heap has its size.
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
    faults, gpu_copy = map(int, done.stdout.split())
    return faults, gpu_copy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_the_kernel_and_given_back_at_the_end():
    from inat.training.memory import ENVIRONMENT

    fresh, least = churn("fresh")
    kept, after = churn("kept")
    inherited, _ = churn("fresh", **ENVIRONMENT)
    assert fresh > 1000  # pages come one by one, or 2 MB at a time where the kernel is set so
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


def test_only_what_was_there_first_is_left_out_of_the_collection():
    subprocess.run([sys.executable, "-c", FROZEN], check=True)
