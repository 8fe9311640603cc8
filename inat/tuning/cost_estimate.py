"""--plan: the grid of a fine-tuning search, and what it is going to cost, from one measured batch a backbone."""

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table
from torch import Tensor
from torch.nn import functional

from inat.config.backbones import BACKBONE_FACTS
from inat.config.finetune import FinetuneConfig
from inat.config.trial import Precision, active_params
from inat.data.splits import inspect_data
from inat.models.backbones import build_backbone, frozen_stage_count
from inat.models.stages import StagedNetwork
from inat.training.memory import keep_freed_memory
from inat.training.precision import autocast
from inat.tuning.space import presets
from inat.tuning.space.backbone_checks import choices
from inat.tuning.space.grid import grid_of

BATCH = {"cpu": 16, "cuda": 64}  # photographs that are measured together
PASSES = 3


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a backbone: seconds of a forward pass and bytes of its output, both for one photograph."""

    seconds: float
    bytes: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Network:
    """Its stages, and how many times as long as a forward pass a step of training takes."""

    stages: Sequence[Stage]
    step_factor: float


@dataclass(frozen=True, slots=True)
class Photos:
    """How many photographs a trial trains on and validates on."""

    train: int
    val: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Of trials that share kept features: ``feature_bytes`` and the seconds of ``building`` them are spent once.

    ``trial`` are the seconds of one trial that nothing stops, ``classic`` those of one that pushes every photograph
    through the whole network in every epoch.
    """

    trainable: int
    feature_bytes: int
    building: float
    trial: float
    classic: float


def cost_of(network: Network, frozen: int, photos: Photos, epochs: int, views: int, most_bytes: float) -> Cost:
    """The cost with the first ``frozen`` stages frozen and ``views`` copies of each training photograph kept.

    Nothing is kept for 0 views, nor above ``most_bytes``. Reading and augmenting photographs are not counted.
    """
    stages = network.stages
    prefix = sum(stage.seconds for stage in stages[:frozen])
    suffix = sum(stage.seconds for stage in stages[frozen:])
    training = epochs * (network.step_factor * photos.train + photos.val) * suffix
    classic = training + epochs * (photos.train + photos.val) * prefix
    trainable = sum(stage.parameters for stage in stages[frozen:])
    pushed = views * photos.train + photos.val
    size = pushed * stages[frozen - 1].bytes if frozen else 0
    if frozen == 0 or views == 0 or size > most_bytes:
        return Cost(trainable, 0, 0.0, classic, classic)
    return Cost(trainable, size, pushed * prefix, training, classic)


@dataclass(frozen=True, slots=True)
class Row:
    """``trials`` trials of one backbone and strategy; ``costs`` without and with augmentation, as far as searched."""

    params: Mapping[str, Any]
    image_size: int
    trials: float
    costs: Sequence[Cost]

    @property
    def features(self) -> int:
        """Bytes of all kept features."""
        return sum(cost.feature_bytes for cost in self.costs)

    @property
    def building(self) -> float:
        """Seconds of computing them."""
        return sum(cost.building for cost in self.costs)

    @property
    def trial(self) -> float:
        """Seconds of one trial, in the mean."""
        return statistics.mean(cost.trial for cost in self.costs)

    @property
    def classic(self) -> float:
        """The same where every photograph goes through the whole network in every epoch."""
        return statistics.mean(cost.classic for cost in self.costs)


def print_plan(config: FinetuneConfig) -> None:
    """Print what the search that ``config`` describes would do and cost; errors as the search raises them."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    space = presets.space_of(config)
    data = inspect_data(config.data_config())
    rows = plan(config, space, data.images, len(data.classes))
    console.print(f"data    {config.data}: {data.images:,} training photos of {len(data.classes)} classes")
    console.print(f"search  {sum(row.trials for row in rows):,.0f} trials, up to {config.max_epochs} epochs")
    console.print(table_of(rows))
    console.print(summary(config, rows))


def plan(config: FinetuneConfig, space: Mapping[str, Any], photos: int, num_classes: int) -> list[Row]:
    """One row for each backbone and strategy in ``space``; measures each backbone on this machine."""
    val = round(config.data_config().val_share * photos)
    split, most = Photos(photos - val, val), config.max_feature_gb * 1e9
    measured: dict[str, Network] = {}
    rows = []
    for params, trials in _groups(config, space):
        backbone = params["backbone"]
        size = config.image_size or BACKBONE_FACTS[backbone].image_size
        if backbone not in measured:
            measured[backbone] = measure(backbone, size, num_classes, config)
        frozen = frozen_stage_count(backbone, params["strategy"], params.get("k_layers"))
        costs = [
            cost_of(measured[backbone], frozen, split, config.max_epochs, views, most)
            for augmented in choices(space, "use_augmentation") or (False,)
            for views in [config.views if augmented else min(config.views, 1)]
        ]
        rows.append(Row(params, size, trials, costs))
    return rows


def _groups(config: FinetuneConfig, space: Mapping[str, Any]) -> list[tuple[dict[str, Any], float]]:
    """Backbones and strategies, each with its number of trials, of a sampler the expected one of random draws."""
    names = [name for name in ("backbone", "strategy", "k_layers") if name in space]
    drawn = [dict(zip(names, values, strict=True)) for values in product(*(choices(space, name) for name in names))]
    deciding = {_group(params): params for params in reversed(drawn)}
    if config.searcher == "grid":
        counts = Counter(_group(params) for params in grid_of(space)[: config.num_samples])
    else:  # which draws a k_layers also where it has no effect
        counts = Counter(_group(params) for params in drawn)
    share = 1.0 if config.searcher == "grid" else (config.num_samples or 0) / len(drawn)
    return [(params, counts[name] * share) for name, params in reversed(deciding.items()) if counts[name]]


def _group(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(active_params(params).get(name) for name in ("backbone", "strategy", "k_layers"))


def measure(backbone: str, image_size: int, num_classes: int, config: FinetuneConfig) -> Network:
    """Times the stages, and a step of training all of them, on this machine with the threads of one trial."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(int(config.cpus_per_trial or 1))
    keep_freed_memory()
    network = build_backbone(backbone, num_classes, image_size=image_size).to(device)
    network.to(memory_format=torch.channels_last)
    images = torch.rand(BATCH[device], 3, image_size, image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    passes = [_forward(network.eval(), images, config.precision) for _ in range(PASSES + 1)][1:]  # the first warms up
    stages = [
        replace(same[0], seconds=statistics.median(s.seconds for s in same)) for same in zip(*passes, strict=True)
    ]
    step = statistics.median(_steps(network.train(), images, config.precision))
    return Network(stages, max(1.0, step / len(images) / sum(stage.seconds for stage in stages)))


def _forward(network: StagedNetwork, images: Tensor, precision: Precision) -> list[Stage]:
    stages, flow = [], images
    with torch.inference_mode(), autocast(precision, images.device.type):
        for stage in network:
            started = _now(images.device.type)
            flow = stage(flow)
            seconds = (_now(images.device.type) - started) / len(images)
            parameters = sum(parameter.numel() for parameter in stage.parameters())
            stages.append(Stage(seconds, flow[0].numel() * flow.element_size(), parameters))
    return stages


def _steps(network: StagedNetwork, images: Tensor, precision: Precision) -> list[float]:
    """Seconds of some steps of training the whole network."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    seconds = []
    for _ in range(PASSES):
        started = _now(images.device.type)
        optimizer.zero_grad()
        with autocast(precision, images.device.type):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        seconds.append(_now(images.device.type) - started)
    return seconds[1:]


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def table_of(rows: Sequence[Row]) -> Table:
    """One line a row, those of a backbone under its name."""
    names = ("trials", "features", "built in", "a trial", "classic")
    columns = (Column(name, justify="right", no_wrap=True) for name in names)
    table = Table(Column("backbone, strategy", no_wrap=True), *columns, box=None, padding=(0, 1))
    for backbone, of_backbone in groupby(rows, key=lambda row: (row.params["backbone"], row.image_size)):
        table.add_row(f"{backbone[0]}, {backbone[1]} px")
        for row in of_backbone:
            used = active_params(row.params)
            table.add_row(
                f" {used['strategy']}" + (f" k={used['k_layers']}" if "k_layers" in used else ""),
                f"{row.trials:,.0f}", decimal(row.features) if row.features else "-",
                clock(row.building) if row.features else "-", clock(row.trial), clock(row.classic),
            )  # fmt: skip
    return table


def summary(config: FinetuneConfig, rows: Sequence[Row]) -> str:
    """Totals, and what they rest on."""
    ours = sum(row.building + row.trials * row.trial for row in rows)
    classic = sum(row.trials * row.classic for row in rows)
    gpu = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if gpu else f"{int(config.cpus_per_trial or 1)} CPU core"
    return (
        f"about {clock(ours)} on one slot ({where}), which keeps {decimal(sum(row.features for row in rows))} of "
        f"features on the disk; {clock(classic)} if every photo went through the whole network in every epoch\n"
        f"estimated from a few batches of {BATCH['cuda' if gpu else 'cpu']} on this machine, for trials that go to "
        f"epoch {config.max_epochs}; ASHA and --patience end most of them earlier"
    )


def clock(seconds: float) -> str:
    """Such as 2.3 s, 5:07 (minutes), 2:03:09 or 3d 04:05."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
