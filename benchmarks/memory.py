"""Memory of trials that share the decoded photographs of a node, and of the process that decodes them.

    python benchmarks/memory.py --data PHOTOS --image-size 128
    python benchmarks/memory.py --data PHOTOS --image-size 128 --augment      # trials map the larger images too

1. One trial and then ``--trials`` trials at once, alternating. A trial is a fresh process (one thread) that runs
   inat.training.fit with the small network below and stops before it ends; with all of them there,
   /proc/PID/smaps_rollup and smaps are read. In MB (10^6 bytes), _1 with one trial and _N with N:
     dataset       the images that training and validation read, as stored
     rss_1, pss_1  of the one trial: its pages; the same with each shared page divided by its number of users
     pss_N         of all N together
     anon          of all: what is their own, networks, activations and libraries' variables
     file          of all, Pss: what is mapped from files, libraries and photographs; other programs with the same
                   libraries carry a part of them, a larger one while only one trial runs
     map, map_rss  of all: Pss and Rss of the maps of images.npy alone. N trials see N times the pages (map_rss) and
                   hold them once (map)
     map_anon      of all: pages of these maps that were written to, and so copied
     available     by how much MemAvailable of the whole system fell; a cross-check that other programs disturb. It
                   counts the page cache as available, so it falls by what trials have of their own
   "data_growth" is (map_N - map_1) / dataset: below 1, N trials hold less than one more copy; without sharing it would
   be N - 1. "file_growth_per_trial" is (file_N - file_1) / (N - 1) in MB, libraries included.
2. Peak resident memory (VmHWM) of a fresh process that builds the stores of the training photographs at half of
   image_size and at image_size: "build_peak", with its libraries alone ("build_start"), and "build_peak_twice" from a
   folder with every photograph twice (links). "build_stored_twice" is what the latter writes.
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
    """Trials at once, compared with one."""
    epochs: int = 1
    augment: bool = False
    """Train with augmentation, from the larger stored images."""
    cache_dir: Path = CACHE_DIR
    only: Kind | None = None
    """Be one of the measured processes."""

    def params(self) -> dict[str, Any]:
        """The flat configuration of a trial."""
        own = {"image_size": self.image_size, "batch_size": self.batch_size, "max_epochs": self.epochs,
               "data": str(self.data.resolve()), "cache_dir": str(self.cache_dir),
               "use_augmentation": self.augment}  # fmt: skip
        return NETWORK | own


def trial(options: Options) -> Numbers:
    """Train, wait for the others at the end of the last epoch, and give the MB of the photographs that were read."""
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
    """Decode what trials need, so that none of the measured ones does."""
    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits

    return {"photos": len(load_splits(TrialConfig.from_params(options.params()).data).train)}


def build(options: Options) -> Numbers:
    """Peak memory in MB of building the stores in an empty folder."""
    from inat.data.image_folder import list_train_and_test
    from inat.data.image_store_builder import build_stores

    photos, _ = list_train_and_test(options.data.resolve())
    start, sizes = proc_mb("self/status")["VmHWM"], (options.image_size // 2, options.image_size)
    with tempfile.TemporaryDirectory(dir=options.cache_dir) as folder:
        build_stores(photos, {size: Path(folder) / f"{size}px" for size in sizes})
        stored = sum(path.stat().st_size for path in Path(folder).glob("*/images.npy"))
    return {"build_start": start, "build_peak": proc_mb("self/status")["VmHWM"], "build_stored": stored / 1e6}


def proc_mb(name: str, wanted: Callable[[str], bool] = lambda mapping: True) -> Numbers:
    """The sizes in /proc/``name``, in MB; of several mappings their sums over those whose heading is ``wanted``."""
    sums: Numbers = {}
    counts = True
    for line in Path("/proc", name).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words and words[0].endswith(":") and words[-1] == "kB":
            sums[words[0][:-1]] = sums.get(words[0][:-1], 0) + counts * int(words[1]) * 1024 / 1e6
        elif words and "-" in words[0]:  # 7f00-7f01 r--p ... path
            counts = wanted(line)
    return sums


def look_at(pids: list[int]) -> Numbers:
    """Memory of these processes together, and what is available beside them."""
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
    """Memory of ``count`` trials together and how much they took from what was available."""
    before = proc_mb("meminfo")["MemAvailable"]
    seen, printed = side_by_side(__file__, as_arguments(options, only="trial"), count, look_at)
    numbers = {name: value for name, value in seen.items() if name != "available"}
    return numbers | {"available": before - seen["available"]} | printed[0]


def one_round(options: Options, twice: Path) -> Numbers:
    """All of a round's numbers."""
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
    """A tree in ``folder`` with every photograph of ``data`` two times."""
    for split in (path for path in data.absolute().iterdir() if path.is_dir()):
        for label in (path for path in split.iterdir() if path.is_dir()):
            target = folder / split.name / label.name
            target.mkdir(parents=True)
            for name in ("first", "second"):
                (target / name).symlink_to(label)


def main() -> None:
    """Measure round by round and print a table, then the result line."""
    options = tyro.cli(Options)
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("memory.py reads /proc/PID/smaps_rollup, which only Linux has")
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
