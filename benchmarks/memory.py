"""Measure the memory of trials that share a node's decoded images, and of the process that decodes them.

    python benchmarks/memory.py --data PHOTOS --image-size 128
    python benchmarks/memory.py --data PHOTOS --image-size 128 --augment      # trials also map the larger images

1. One trial and ``--trials`` trials at once, alternating. A trial is a fresh process with one thread that runs
   inat.training.fit with the small network below and pauses before its end. When all trials pause, the script reads
   /proc/PID/smaps_rollup and smaps. In MB (10^6 bytes), _1 for one trial and _N for the sum over N trials:
     dataset       stored images that training and validation read
     rss, pss      resident pages; the same with each shared page divided by its number of users
     anon          private memory: networks, activations, variables of libraries
     file          Pss of mapped files: libraries and images; other programs with the same libraries share a part of it,
                   a larger part while only one trial runs
     map, map_rss  Pss and Rss of the maps of images.npy alone: N trials see the pages N times (map_rss) and hold them
                   once (map)
     map_anon      pages of these maps that were written to, and therefore copied
     available     decrease of the system's MemAvailable; a cross-check that other programs disturb. It counts the page
                   cache as available, so it decreases by the trials' private memory
   "data_growth" is (map_N - map_1) / dataset: below 1, N trials hold less than one extra copy; without sharing it would
   be N - 1. "file_growth_per_trial" is (file_N - file_1) / (N - 1) in MB, libraries included.
2. Peak resident memory (VmHWM) of a fresh process that builds the stores of the training images at image_size and half
   of it: "build_peak"; "build_start" is before the build, with the libraries loaded. "build_peak_twice" is for a folder
   with every image twice (links), "build_stored_twice" is the size of its stores.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from measure import (
    Numbers,
    as_arguments,
    hardware,
    measured,
    print_report,
    side_by_side,
    wait_for_others,
)

from inat.constants import CACHE_DIR

Kind = Literal["trial", "build", "prepare"]
NETWORK = {"first_layer_filters": 8, "filter_org": 1, "conv_layers": 3, "activation": "relu", "dropout": 0.2,
           "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 1e-3}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure memory."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 128
    batch_size: int = 32
    rounds: int = 3
    trials: int = 4
    """Number of trials at once, compared with one."""
    epochs: int = 1
    augment: bool = False
    """Train with augmentation, from the larger stored images."""
    cache_dir: Path = CACHE_DIR
    only: Kind | None = None
    """Run one of the measured processes."""

    def params(self) -> dict[str, Any]:
        """The flat configuration of a trial."""
        own = {"image_size": self.image_size, "batch_size": self.batch_size, "max_epochs": self.epochs,
               "data": str(self.data.resolve()), "cache_dir": str(self.cache_dir),
               "use_augmentation": self.augment}  # fmt: skip
        return NETWORK | own


def trial(options: Options) -> Numbers:
    """Train and wait for the other trials at the end of the last epoch; returns the MB of the images read."""
    import pytorch_lightning as pl
    import torch

    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits
    from inat.training.fit import fit

    class Wait(pl.Callback):
        def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            wait_for_others()

    torch.set_num_threads(1)
    config = TrialConfig.from_params(options.params())
    fit(config, [Wait()])
    train = load_splits(config.data).train
    return {"dataset": (train.images.nbytes + (train.crops.images.nbytes if train.crops else 0)) / 1e6}


def prepare(options: Options) -> Numbers:
    """Decode the images, so no measured trial does; returns their number."""
    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits

    return {"photos": len(load_splits(TrialConfig.from_params(options.params()).data).train)}


def build(options: Options) -> Numbers:
    """Build the stores in an empty folder; returns peak memory and the size of the stores in MB."""
    from inat.data.decode import Resize
    from inat.data.image_store_builder import build_stores
    from inat.data.layouts import list_folders

    images = list_folders(options.data.resolve()).development
    start, sizes = proc_mb("self/status")["VmHWM"], (options.image_size // 2, options.image_size)
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
        build_stores(images, {Resize(size): Path(folder) / f"{size}px" for size in sizes})
        stored = sum(path.stat().st_size for path in Path(folder).glob("*/images.npy"))
    return {"build_start": start, "build_peak": proc_mb("self/status")["VmHWM"], "build_stored": stored / 1e6}


def proc_mb(name: str, wanted: Callable[[str], bool] = lambda mapping: True) -> Numbers:
    """The sizes in the file /proc/``name`` in MB, summed over the mappings whose heading is ``wanted``."""
    sums: Numbers = {}
    counts = True
    for line in Path("/proc", name).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words and words[0].endswith(":") and words[-1] == "kB":
            sums[words[0][:-1]] = sums.get(words[0][:-1], 0) + counts * int(words[1]) * 1024 / 1e6
        elif words and "-" in words[0]:  # 7f00-7f01 r--p ... path
            counts = wanted(line)
    return sums


def memory_of(pids: list[int]) -> Numbers:
    """Memory of these processes together in MB, and the memory available on the system."""
    total: Numbers = {"available": proc_mb("meminfo")["MemAvailable"]}
    for pid in pids:
        whole = proc_mb(f"{pid}/smaps_rollup")
        images = proc_mb(f"{pid}/smaps", lambda mapping: mapping.endswith("images.npy"))
        found = {"rss": whole["Rss"], "pss": whole["Pss"], "anon": whole["Pss_Anon"], "file": whole["Pss_File"],
                 "map": images["Pss"], "map_rss": images["Rss"], "map_anon": images["Anonymous"]}  # fmt: skip
        for name, value in found.items():
            total[name] = total.get(name, 0) + value
    return total


def trials_at_once(options: Options, count: int) -> Numbers:
    """Memory of ``count`` trials together in MB, and the decrease of available memory."""
    before = proc_mb("meminfo")["MemAvailable"]
    memory, printed = side_by_side(__file__, as_arguments(options, only="trial"), count, memory_of)
    numbers = {name: value for name, value in memory.items() if name != "available"}
    return numbers | {"available": before - memory["available"]} | printed[0]


def one_round(options: Options, twice: Path) -> Numbers:
    """All numbers of one round."""
    one, several = trials_at_once(options, 1), trials_at_once(options, options.trials)
    count = options.trials
    numbers = {"dataset": one.pop("dataset")}
    numbers |= {f"{name}_1": one[name] for name in one} | {f"{name}_{count}": several[name] for name in one}
    numbers["data_growth"] = (several["map"] - one["map"]) / numbers["dataset"]
    numbers["file_growth_per_trial"] = (several["file"] - one["file"]) / (count - 1)
    numbers |= measured(__file__, options, only="build")
    doubled = measured(__file__, options, only="build", data=twice)
    return numbers | {f"{name}_twice": value for name, value in doubled.items()}


def link_twice(data: Path, folder: Path) -> None:
    """Make a tree in ``folder`` that holds every image of ``data`` twice."""
    for split in (path for path in data.absolute().iterdir() if path.is_dir()):
        for label in (path for path in split.iterdir() if path.is_dir()):
            target = folder / split.name / label.name
            target.mkdir(parents=True)
            for name in ("first", "second"):
                (target / name).symlink_to(label)


def main() -> None:
    """Measure round by round, print a table, then the result line."""
    options = tyro.cli(Options)
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("memory.py needs /proc/PID/smaps_rollup, so run it on Linux")
    if options.only:
        print(json.dumps({"trial": trial, "build": build, "prepare": prepare}[options.only](options)))
        return
    print(f"{hardware()}\n{options}")
    print(f"{measured(__file__, options, only='prepare')['photos']} photos to train on; MB")
    parts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        link_twice(options.data, Path(folder))
        for number in range(options.rounds):
            for name, value in one_round(options, Path(folder)).items():
                parts.setdefault(name, []).append(value)
            print(f"round {number + 1}:", *(f"{name}={values[-1]:.4g}" for name, values in parts.items()), flush=True)
    print_report(parts)


if __name__ == "__main__":
    main()
