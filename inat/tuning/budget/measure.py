"""Measure the recipe on this machine, so that a time budget can be planned."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from inat.config.search import REFIT_ALL, SearchConfig
from inat.config.small_resnet import SmallResNetConfig
from inat.config.trial import DataConfig, TrialConfig
from inat.data.disk import free_bytes
from inat.device import free_cached, gpu_count, this_device
from inat.machine import usable_cores, usable_memory
from inat.training.precision_choice import settle_precision
from inat.tuning.budget import rules
from inat.tuning.budget.costs import Measured, cost_at
from inat.tuning.budget.photos import Photos
from inat.tuning.budget.plan import Facts, SizeCost, TimePlan, make_plan
from inat.tuning.gpu_sharing import choose_sharing
from inat.tuning.network_timing import measure_speeds, size_of
from inat.tuning.ray_backend.slots import Node, Slots, plan_slots
from inat.tuning.space.scratch_recipe import scratch_recipe

SECONDS: Final = 2.5  # for each timing, of which there are at most four
FIRST_SIDE: Final = 64  # px; timed first, unless the photos are smaller
USABLE_DISK: Final = 0.9  # of what is free: the study and Ray write as well
USUAL_EPOCHS: Final = 16  # for which the recipe is timed; its cost hardly depends on them


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it was made from.

    ``cores`` are those that the last training may have, ``cores_limited`` if the user's options leave others unused.
    ``disk_limited``: larger images than these would not fit on the disk of the cache. ``facts`` and ``costs``, those of
    the image sizes that could be chosen, in ascending order, are what the plan was made from.
    """

    plan: TimePlan
    photos: Photos
    classes: int
    slots: Slots
    cores: int
    measured: Sequence[Measured]
    cores_limited: bool = False
    disk_limited: bool = False
    facts: Facts | None = None
    costs: Sequence[SizeCost] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """A time budget of ``seconds`` that began at ``started``, and the ``loading`` seconds until this process was ready.

    ``started`` is of ``time.monotonic``.
    """

    seconds: float
    started: float
    loading: float


def plan_here(config: SearchConfig, photos: Photos, classes: int, begun: Begun) -> Planned:
    """Plan a time budget by timing the recipe on this machine at one or two image sizes.

    ConfigError if not even one epoch fits.
    """
    sides = rules.SIDES if config.image_size is None and photos.parts else (config.resolved_image_size,)
    missing = {side: photos.missing(_images(config, side)) for side in sides}
    room = USABLE_DISK * free_bytes(Path(config.data_config().cache_dir))
    fitting = [side for side in sides if missing[side].bytes <= room] or sides[:1]
    decode = {side: photos.decode_seconds(missing[side], usable_cores()) for side in fitting}
    measured: list[Measured] = []

    def plan_next(side: int) -> Planned:
        slots = slots_here(replace(config, image_size=side))
        cores = cores_allowed(config, slots)
        measured.append(measure(config, side, photos, classes, slots, cores))
        faster = measured[-1].alone is not measured[-1].slot
        facts = Facts(
            seconds=begun.seconds, spent=time.monotonic() - begun.started, loading=begun.loading, slots=slots.count,
            images=photos.counts.train, side=photos.side, cores=cores if faster else max(1, int(slots.cpus)),
            reduction_factor=config.reduction_factor,
            refit=photos.counts.refit if config.refit == REFIT_ALL else 1.0,
        )  # fmt: skip
        costs = _costs(config, photos, classes, slots, decode, measured)
        plan = make_plan(facts, costs)
        disk_limited = plan.image_size == fitting[-1] < min(sides[-1], photos.side)
        return Planned(
            plan, photos, classes, slots, cores, measured, cores < usable_cores(), disk_limited, facts, costs
        )

    first = max((side for side in fitting if side <= min(FIRST_SIDE, photos.side)), default=fitting[0])
    planned = plan_next(first)
    return planned if planned.plan.image_size == first else plan_next(planned.plan.image_size)


def _images(config: SearchConfig, side: int) -> DataConfig:
    """The images of a planned search; most augmentations of its space cut crops from larger copies."""
    return replace(config, image_size=side).data_config(use_augmentation=True)


def cores_allowed(config: SearchConfig, slots: Slots) -> int:
    """The cores of this machine; with --cpus-per-trial, no more than the trials of a search have together."""
    cores = usable_cores()
    return cores if config.cpus_per_trial is None else max(1, min(cores, int(slots.count * slots.cpus)))


def slots_here(config: SearchConfig) -> Slots:
    """The slots of this machine for a search of ``config``."""
    here = [Node(usable_cores(), gpu_count(), memory=usable_memory())]
    return plan_slots(here, config, choose_sharing(config, here, rules.WANTED_TRIALS).share)


def measure(config: SearchConfig, side: int, photos: Photos, classes: int, slots: Slots, cores: int) -> Measured:
    """Time the recipe at ``side`` px as a trial of the search, and with all ``cores`` if that is something else."""
    trial, threads = recipe_trial(config, side, photos.counts.train, classes), torch.get_num_threads()
    operations = size_of(trial, classes).operations
    try:
        torch.set_num_threads(max(1, int(slots.cpus)))
        trial = settle_precision(trial, None, num_classes=classes)
        (slot,) = measure_speeds([trial], classes, SECONDS)
        alone = slot
        if not slots.gpus and cores > int(slots.cpus):
            torch.set_num_threads(cores)
            (alone,) = measure_speeds([trial], classes, SECONDS)
            if alone.train_image >= slot.train_image:  # where other programs keep the cores busy
                alone = slot
    finally:
        torch.set_num_threads(threads)
        free_cached(this_device())
    return Measured(image_size=side, operations=operations, slot=slot, alone=alone)


def recipe_trial(
    config: SearchConfig, side: int, images: int, classes: int, epochs: int = USUAL_EPOCHS, *, wider: bool = False
) -> TrialConfig:
    """The recipe for ``epochs`` as a trial of ``config``, at another image size; ``wider``: with ``rules.WIDER``."""
    recipe = scratch_recipe(image_size=side, images=images, classes=classes, epochs=epochs)
    if wider:
        recipe["width"] = int(rules.WIDER * recipe["width"])
    settings: Mapping[str, Any] = replace(config, image_size=side).trial_settings()
    return TrialConfig.from_params({**settings, **recipe})


def _costs(
    config: SearchConfig,
    photos: Photos,
    classes: int,
    slots: Slots,
    decode: Mapping[int, float],
    measured: Sequence[Measured],
) -> list[SizeCost]:
    """The costs at each size in ``decode``, the seconds to decode all images."""
    operations = {
        side: size_of(recipe_trial(config, side, photos.counts.train, classes), classes).operations for side in decode
    }
    contention = rules.contention(slots.count, gpu_count() if slots.gpus else 0)

    def wider(side: int) -> tuple[int, float]:
        network = recipe_trial(config, side, photos.counts.train, classes, wider=True)
        assert isinstance(network.model, SmallResNetConfig)
        return network.model.width, size_of(network, classes).operations / operations[side]

    return [
        cost_at(side, operations, measured, photos.counts, contention=contention, decode=seconds, wider=wider(side))
        for side, seconds in decode.items()
    ]
