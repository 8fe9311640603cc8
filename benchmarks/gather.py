"""Measure how fast batches that a GPU cannot hold are gathered, on one thread and on several.

    python benchmarks/gather.py --side 448 --threads 1 2

Random rows of a memory-mapped file, in batches, as for a training that sends its images. "wall_N": images per second of
wall time with N threads. "cores_N": images per second of the busiest thread's processor time, which is what idle cores
would reach: other work on the machine does not count. "index_select" is torch's, in the main thread, followed by the
copy into pinned memory that a DataLoader makes: the way of earlier versions, in images per second of processor time.
"""

import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import tyro
from measure import hardware, print_report
from numpy.typing import NDArray

from inat.data import sending
from inat.data.resident import as_tensor
from inat.data.sending import Gather
from inat.training.memory import keep_freed_memory

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the gathering of batches."""

    side: int = 448
    """Side of the stored images in pixels: twice that of augmented images."""
    images: int = 600
    batch_size: int = 64
    threads: tuple[int, ...] = (1, 2)
    batches: int = 10
    """Batches per measurement."""
    rounds: int = 5


@contextmanager
def times_of_threads() -> Iterator[dict[int, float]]:
    """Seconds of processor time that each thread spends in copying rows."""
    seconds: dict[int, float] = defaultdict(float)
    copy_rows = sending._copy_rows

    def timed(*args: Any) -> None:
        started = time.thread_time()
        copy_rows(*args)
        seconds[threading.get_ident()] += time.thread_time() - started

    with patch.object(sending, "_copy_rows", timed):
        yield seconds


def gathered(gather: Gather, images: NDArray[np.uint8], orders: list[Rows]) -> tuple[float, float]:
    """Images per second of wall time, and of processor time of the busiest thread and the thread that waits for it."""
    count = sum(map(len, orders))
    with times_of_threads() as seconds:
        wall, own = time.perf_counter(), time.thread_time()
        for rows in orders:
            gather(images, rows)
        wall, own = time.perf_counter() - wall, time.thread_time() - own
        here = seconds.pop(threading.get_ident(), 0.0)
    return count / wall, count / (max(seconds.values(), default=here) + own - here)


def selected(images: NDArray[np.uint8], orders: list[Rows]) -> float:
    """Images per second of processor time by torch's index_select and a second copy."""
    source, started = as_tensor(images), time.process_time()
    for rows in orders:
        source.index_select(0, torch.from_numpy(rows)).clone()
    return sum(map(len, orders)) / (time.process_time() - started)


def main() -> None:
    """Alternate the numbers of threads, print medians, then the result line."""
    options = tyro.cli(Options)
    keep_freed_memory()  # as pinned memory is used again: otherwise each batch would wait for new pages
    print(f"{hardware()}\n{options}")
    random, parts = np.random.default_rng(0), defaultdict[str, list[float]](list)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "images.npy"
        np.save(path, random.integers(0, 256, (options.images, options.side, options.side, 3), np.uint8))
        images = np.load(path, mmap_mode="r")
        gathers = {threads: Gather(threads) for threads in options.threads}
        for number in range(1 + options.rounds):  # the first round fills the page cache
            orders = [random.permutation(options.images)[: options.batch_size] for _ in range(options.batches)]
            found: dict[str, float] = {"index_select": selected(images, orders)}
            for threads, gather in gathers.items():
                found[f"wall_{threads}"], found[f"cores_{threads}"] = gathered(gather, images, orders)
            for name, value in found.items() if number else ():
                parts[name].append(value)
    print_report(parts)


if __name__ == "__main__":
    main()
