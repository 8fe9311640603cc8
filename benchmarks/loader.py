"""Measure how long a training waits for data: the loader alone, in an epoch, and building and opening the store.

    python benchmarks/loader.py --data PHOTOS --image-size 64

Four comparisons on the training images; they alternate, each measurement in a fresh process. With "_augmented" in the
name both sides apply the same augmentation, inat on the device and from larger stored images.

1. Batches per second of passes over the loader without a network, after one pass to warm up. "loader" is inat's loader
   (uint8). "ready" adds inat's work on the device and ends with a normalised float32 batch, like "classic": ImageFolder
   + DataLoader with 2 worker processes (benchmarks/classic.py).
2. Epochs of inat.training.fit, training and validation, after one epoch to warm up, with the small NETWORK below.
   "wait": percentage of wall time inside the loaders' iterators; "prepare": percentage in normalisation and
   augmentation, which is computation. With a GPU both count processor time only.
3. Seconds to decode. "build": inat.data.image_store_builder, to the sizes that a training needs. "plain_build": a pool
   with one process per core that opens, converts and resizes the same files with Pillow and drops the results.
   "build_ratio": plain_build / build.
4. Milliseconds to open existing data, the first time in a process. "open_tree" lists the folders of all splits;
   "open_store" hashes the list of training files and maps their store.
"""

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import classic as tutorial
import tyro
from measure import Numbers, alternate, hardware, measured, print_report, ratios
from PIL import Image

from inat.config.trial import TrialConfig
from inat.constants import CACHE_DIR
from inat.data.datamodule import ImageDataModule
from inat.data.decode import Resize
from inat.data.image_store import open_stores
from inat.data.image_store_builder import build_stores
from inat.data.layouts import list_folders
from inat.training import fit, inputs
from inat.training.memory import keep_freed_memory

Kind = Literal["loader", "classic", "epoch", "files"]
NETWORK = {"first_layer_filters": 32, "filter_org": 1, "conv_layers": 3, "activation": "relu", "dropout": 0.2,
           "batch_norm": True, "num_neurons_dense": 128, "learning_rate": 1e-3}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the data pipeline."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    batch_size: int = 64
    rounds: int = 3
    epochs: int = 1
    """Timed passes or epochs per measurement."""
    cache_dir: Path = CACHE_DIR
    """Folder for image stores; stores built for timing are removed again."""
    augment: bool = False
    """With --only: use augmentation."""
    only: Kind | None = None
    """Run one measurement and print its numbers."""

    @property
    def config(self) -> TrialConfig:
        """The configuration of the training."""
        own = {"image_size": self.image_size, "batch_size": self.batch_size, "max_epochs": 1 + self.epochs,
               "data": str(self.data.resolve()), "cache_dir": str(self.cache_dir),
               "use_augmentation": self.augment}  # fmt: skip
        return TrialConfig.from_params(NETWORK | own)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes in px of the stores that the training needs."""
        data = self.config.data
        return (data.image_size, data.crop_size) if data.use_augmentation else (data.image_size,)


def passes(batches: Any, finish: Callable[[Any], object], count: int) -> float:
    """Batches per second of ``count`` passes, after one to warm up; ``finish`` is called with each batch."""
    started = time.perf_counter()
    for number in range(1 + count):
        if number == 1:
            started = time.perf_counter()
        for batch in batches:
            finish(batch)
    return count * len(batches) / (time.perf_counter() - started)


def loader(options: Options) -> Numbers:
    """inat's loader over the training split, without and with its work on the device."""
    keep_freed_memory()
    data = ImageDataModule(options.config.data, options.batch_size)
    raw = passes(data.train_dataloader(), lambda batch: batch, options.epochs)
    return {"loader": raw, "ready": passes(data.train_dataloader(), data.on_after_batch_transfer, options.epochs)}


def classic(options: Options) -> Numbers:
    """The tutorial loader over its training part."""
    train, _ = tutorial.loaders(options.data, options.image_size, options.batch_size, options.augment)
    return {"classic": passes(train, lambda batch: batch, options.epochs)}


@dataclass
class TimedLoader:
    """A loader that appends to ``waits`` the seconds spent waiting for each batch."""

    loader: Any
    waits: list[float]

    def __iter__(self) -> Iterator[Any]:
        started, end = time.perf_counter(), object()
        batches = iter(self.loader)
        while (batch := next(batches, end)) is not end:
            self.waits.append(time.perf_counter() - started)
            yield batch
            started = time.perf_counter()
        self.waits.append(time.perf_counter() - started)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


WAITS: list[float] = []
PREPARATIONS: list[float] = []


class TimedData(ImageDataModule):
    """The data module with a record of the seconds spent in its loaders and transforms."""

    def train_dataloader(self) -> Any:
        return TimedLoader(super().train_dataloader(), WAITS)

    def val_dataloader(self) -> Any:
        return TimedLoader(super().val_dataloader(), WAITS)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        started = time.perf_counter()
        ready = super().on_after_batch_transfer(batch, dataloader_idx)
        PREPARATIONS.append(time.perf_counter() - started)
        return ready


@dataclass
class Shares(tutorial.EpochClock):
    """Records at the end of each epoch the seconds spent so far in waiting and in preparing."""

    spent: list[tuple[float, float]] = field(default_factory=list)

    def on_train_epoch_end(self, *args: Any) -> None:
        super().on_train_epoch_end(*args)
        self.spent.append((sum(WAITS), sum(PREPARATIONS)))


def epoch(options: Options) -> Numbers:
    """Seconds per epoch of a training, and the percentages spent in waiting and in preparing."""
    inputs.ImageDataModule = TimedData  # type: ignore[attr-defined]
    shares = Shares()
    fit.fit(options.config, [shares])
    seconds, warm, end = sum(shares.seconds), shares.spent[0], shares.spent[-1]
    return {
        "epoch": seconds / options.epochs,
        "wait": 100 * (end[0] - warm[0]) / seconds,
        "prepare": 100 * (end[1] - warm[1]) / seconds,
    }


def decode(path: Path, sizes: tuple[int, ...]) -> None:
    """Decode and resize one image, and drop the result."""
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except OSError:
        return
    for size in sizes:
        image.resize((size, size), Image.Resampling.BILINEAR).tobytes()


def files(options: Options) -> Numbers:
    """Milliseconds to open, seconds to build in an empty folder, seconds to decode with a process pool."""
    allowed, times = options.config.data.max_bad_fraction, [time.perf_counter()]
    images = list_folders(options.data.resolve()).development
    times.append(time.perf_counter())
    open_stores(images, options.sizes, options.cache_dir, allowed)
    times.append(time.perf_counter())
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
        build_stores(images, {Resize(s): Path(folder) / f"{s}px" for s in options.sizes})
        times.append(time.perf_counter())
    paths, began = [images.root / path for path in images.paths], time.perf_counter()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        pool.map(partial(decode, sizes=options.sizes), paths, chunksize=16)
    plain, (tree, store, build) = time.perf_counter() - began, (b - a for a, b in pairwise(times))
    return {"open_tree": 1e3 * tree, "open_store": 1e3 * store, "build": build, "plain_build": plain}


MEASUREMENTS: dict[Kind, Callable[[Options], Numbers]] = {
    "loader": loader, "classic": classic, "epoch": epoch, "files": files,
}  # fmt: skip


def main() -> None:
    """Alternate the measurements, without and with augmentation, print a table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(MEASUREMENTS[options.only](options)))
        return
    print(f"{hardware()}\n{options}")
    measured(__file__, options, only="loader", augment=True)  # decodes the images and fills the page cache
    names = {False: "", True: "_augmented"}
    variants = [(names[augment], {"only": kind, "augment": augment}) for augment in names for kind in MEASUREMENTS]
    parts = alternate(__file__, options, options.rounds, variants)
    for suffix in names.values():
        parts[f"ratio{suffix}"] = ratios(parts[f"ready{suffix}"], parts[f"classic{suffix}"])
        parts[f"build_ratio{suffix}"] = ratios(parts[f"plain_build{suffix}"], parts[f"build{suffix}"])
    print_report(parts)


if __name__ == "__main__":
    main()
