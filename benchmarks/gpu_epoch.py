"""Measure how well trainings use a GPU: images per second, share of its peak, parts of a step, trainings at once.

    python benchmarks/gpu_epoch.py                             # 2,000 random JPEGs of 300x240 px
    python benchmarks/gpu_epoch.py --data PHOTOS --trials 1 2 4 8
    python benchmarks/gpu_epoch.py --device cpu --smoke        # the same code in two minutes, without a GPU

Needs no Ray. Measurements alternate, each in a fresh process. Variants: images "resident" on the GPU, or "sent" from
pinned memory while it computes (inat.data.resident.RESIDENT_SHARE = 0); without or with augmentation ("_augmented").

1. Epochs of inat.training.fit, after one to warm up. "epoch_*": images per second of training and validation;
   "train_*": of training alone; "memory_*": GB reserved on the GPU. "flops_*": training as a percentage of
   "peak_tflops", which is a bfloat16 matrix product measured in the same round; "datasheet_*": as a percentage of the
   manufacturer's figure, for GPUs in DATASHEET. FLOPs ("gflops_image") are those of convolutions and matrix products,
   forward and backward, as counted by torch's FlopCounterMode.
2. Steps of a plain loop with the same loader, transform, network and precision, in milliseconds between CUDA events:
   "gather_*" (wait for the batch), "prepare_*" (transfer, augmentation, normalisation), "forward_*" (with loss and
   metrics), "backward_*", "optimizer_*". "bare_*": images per second of this loop.
3. ``--trials`` processes at once on the GPU, of the first variant, which divide the processor's cores among them.
   "trials_N": training images per second of all together, by the training seconds of the slowest, after one epoch;
   "trials_N_memory": GB.
"""

import dataclasses
import itertools
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import measure
import numpy as np
import pytorch_lightning as pl
import torch
import tyro
from gpu_step import between, finish, mark, step_parts
from measure import Numbers, as_arguments, measured
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from inat.config.trial import TrialConfig
from inat.data import resident
from inat.data.splits import load_splits
from inat.models.factory import build_network
from inat.training.fit import fit

Variant = Literal["resident", "sent", "resident_augmented", "sent_augmented"]
VARIANTS: tuple[Variant, ...] = ("resident", "sent", "resident_augmented", "sent_augmented")
Kind = Literal["prepare", "peak", "fit", "step"]
DATASHEET = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # FLOP/s of the SXM boards, dense bfloat16


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure trainings on one GPU."""

    data: Path | None = None
    """Folder with train/<class>/* and val/<class>/*. Default: random images."""
    photos: int = 2000
    """Number of random images to make."""
    image_size: int = 224
    batch_size: int = 64
    first_layer_filters: int = 128
    filter_org: float = 1
    conv_layers: int = 5
    num_neurons_dense: int = 512
    compile: bool = False
    rounds: int = 3
    epochs: int = 3
    """Timed epochs per training."""
    steps: int = 50
    """Timed steps of the plain loop."""
    matrix: int = 8192
    """Side of the matrices whose product measures the peak."""
    variants: tuple[Variant, ...] = VARIANTS
    trials: tuple[int, ...] = (1, 2, 4, 8)
    device: Literal["cuda", "cpu"] = "cuda"
    smoke: bool = False
    """Use tiny sizes, to try this script."""
    cache_dir: Path | None = None
    """Folder for decoded images. Default: a temporary folder."""
    only: Kind | None = None
    """Run one measurement of the first variant and print its numbers."""

    def config(self, variant: Variant) -> TrialConfig:
        """The training of a variant."""
        names = ("image_size", "batch_size", "first_layer_filters", "filter_org", "conv_layers", "num_neurons_dense",
                 "compile")  # fmt: skip
        fixed = {"activation": "gelu", "batch_norm": True, "dropout": 0.3, "learning_rate": 1e-4}
        own = {"data": str(self.data), "cache_dir": str(self.cache_dir), "max_epochs": 1 + self.epochs,
               "patience": 1 + self.epochs, "use_augmentation": variant.endswith("_augmented")}  # fmt: skip
        return TrialConfig.from_params({name: getattr(self, name) for name in names} | fixed | own)

    def shrunk(self) -> "Options":
        """These options with tiny sizes."""
        return dataclasses.replace(
            self, photos=120, image_size=32, batch_size=8, first_layer_filters=8, conv_layers=2, num_neurons_dense=16,
            rounds=1, epochs=1, steps=4, matrix=256, trials=(1, 2), smoke=False,
        )  # fmt: skip


def make_images(folder: Path, count: int) -> None:
    """Write ``count`` random JPEGs of 300x240 px in 10 classes; a sixth is held out."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / ("val" if number // 10 % 6 == 0 else "train") / f"class{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8))
        coarse.resize((300, 240), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=90)


def prepare(options: Options) -> Numbers:
    """Decode the images, so no measured process does; returns the number of training images per variant."""
    return {variant: len(load_splits(options.config(variant).data).train) for variant in options.variants}


def peak(options: Options) -> Numbers:
    """TFLOP/s of a bfloat16 matrix product, and the network's GFLOP per image, forward and backward."""
    side, count = options.matrix, 20
    left, right = (torch.randn(side, side, dtype=torch.bfloat16, device=options.device) for _ in range(2))
    for number in range(2 * count):
        if number == count:
            started = mark(options.device)
        left @ right
    ended = mark(options.device)
    finish(options.device)
    net = build_network(options.config("resident"), 10)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(2, 3, options.image_size, options.image_size)).sum().backward()
    tflops = 2 * side**3 * count / between(started, ended) / 1e9
    return {"peak_tflops": tflops, "gflops_image": counter.get_total_flops() / 2 / 1e9}


class Clock(pl.Callback):
    """Seconds of all epochs except the first, and of their training parts."""

    began = started = training = seconds = 0.0

    def __init__(self, device: str) -> None:
        self.device = device

    def _now(self) -> float:
        finish(self.device)
        return time.perf_counter()

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = self._now()

    def on_validation_start(self, *_: Any) -> None:
        self.training += self._now() - self.started

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 0:
            self._now()
            measure.wait_for_others()
            self.began, self.training = self._now(), 0.0
        self.seconds = self._now() - self.began


def train(options: Options) -> Numbers:
    """Images per second and GPU memory (GB) of inat.training.fit."""
    clock, config = Clock(options.device), options.config(options.variants[0])
    fit(config, [clock])
    splits = load_splits(config.data)
    trained, validated = (options.epochs * len(split) for split in (splits.train, splits.val))
    return {
        "epoch": (trained + validated) / clock.seconds,
        "train": trained / clock.training,
        "memory": torch.cuda.max_memory_reserved() / 1e9 if options.device == "cuda" else 0.0,
        "seconds": clock.training,
    }


def step(options: Options) -> Numbers:
    """Milliseconds of the parts of a step, and images per second of the plain loop."""
    return step_parts(options.config(options.variants[0]), options.device, options.steps)


def trials_at_once(options: Options, count: int) -> Numbers:
    """Images per second of ``count`` trainings together; {} if they do not fit into the GPU's memory."""
    # As Ray does: with one thread per core in each process, the threads would wait for one another.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // count))
    try:
        _, ended = measure.side_by_side(__file__, as_arguments(options, only="fit"), count, lambda pids: None)
    except measure.CrashError as error:
        if "out of memory" not in str(error):
            raise
        print(f"{count} trials do not fit into the GPU's memory")
        return {}
    images = sum(trial["train"] * trial["seconds"] for trial in ended)
    speed = images / max(trial["seconds"] for trial in ended)
    return {f"trials_{count}": speed, f"trials_{count}_memory": sum(trial["memory"] for trial in ended)}


def measure_all(options: Options) -> dict[str, list[float]]:
    """All measurements of all rounds, by name."""
    kinds: tuple[Kind, ...] = ("fit", "step")
    variants = [(f"_{name}", {"only": kind, "variants": (name,)}) for name in options.variants for kind in kinds]
    parts = measure.alternate(__file__, options, options.rounds, [("", {"only": "peak"}), *variants])
    parts = {name: values for name, values in parts.items() if not name.startswith("seconds_")}
    device = torch.cuda.get_device_name() if options.device == "cuda" else ""
    datasheet = next((flops for name, flops in DATASHEET.items() if name in device), None)
    for variant in options.variants:
        rates = [g * 1e9 * speed for g, speed in zip(parts["gflops_image"], parts[f"train_{variant}"], strict=True)]
        parts[f"flops_{variant}"] = [100 * r / p / 1e12 for r, p in zip(rates, parts["peak_tflops"], strict=True)]
        if datasheet:
            parts[f"datasheet_{variant}"] = [100 * rate / datasheet for rate in rates]
    for number, count in itertools.product(range(options.rounds), options.trials):
        found = trials_at_once(options, count)
        print(f"round {number + 1}:", *(f"{name}={value:.4g}" for name, value in found.items()), flush=True)
        for name, value in found.items():
            parts.setdefault(name, []).append(value)
    return parts


def main() -> None:
    """Make images or use the given ones, measure, print a table, then the result line."""
    options = tyro.cli(Options)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_epoch.py finds no CUDA GPU; try the script without one: --device cpu --smoke", file=sys.stderr)
        sys.exit(2)
    if options.only:
        if options.variants[0].startswith("sent"):
            resident.RESIDENT_SHARE = 0.0
        print(json.dumps({"prepare": prepare, "peak": peak, "fit": train, "step": step}[options.only](options)))
        return
    options = options.shrunk() if options.smoke else options
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            make_images(Path(folder) / "photos", options.photos)
        options = dataclasses.replace(
            options, data=options.data or Path(folder) / "photos", cache_dir=options.cache_dir or Path(folder) / "cache"
        )
        print(f"{measure.hardware()}\n{options}")
        print(f"{measured(__file__, options, only='prepare')[options.variants[0]]} photos to train on", flush=True)
        measure.print_report(measure_all(options))


if __name__ == "__main__":
    main()
