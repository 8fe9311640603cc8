"""Measure the recipe on this machine, so that a time budget can be planned."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from inat.config.search import SearchConfig
from inat.config.trial import DataConfig, TrialConfig
from inat.constants import DIGITS, DIGITS_STEP
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
USUAL_EPOCHS: Final = 16  # for which the recipe is timed; its cost hardly depends on them


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it was made from."""

    plan: TimePlan
    photos: Photos
    classes: int
    slots: Slots
    cores: int
    measured: Sequence[Measured]


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
    slots, cores = slots_here(config), usable_cores()
    sides = rules.SIDES if config.image_size is None and photos.parts else (config.resolved_image_size,)
    measured: list[Measured] = []

    def plan_next(side: int) -> TimePlan:
        measured.append(measure(config, side, photos, classes, slots, cores))
        faster = measured[-1].alone is not measured[-1].slot
        facts = Facts(
            seconds=begun.seconds, spent=time.monotonic() - begun.started, loading=begun.loading, slots=slots.count,
            images=photos.counts.train, side=photos.side, cores=cores if faster else max(1, int(slots.cpus)),
            reduction_factor=config.reduction_factor,
        )  # fmt: skip
        return make_plan(facts, _costs(config, sides, photos, classes, slots, cores, measured))

    first = max((side for side in sides if side <= min(FIRST_SIDE, photos.side)), default=sides[0])
    plan = plan_next(first)
    if plan.image_size != first:
        plan = plan_next(plan.image_size)
    return Planned(plan, photos, classes, slots, cores, measured)


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
        trial = _with_precision(trial)
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


def _with_precision(trial: TrialConfig) -> TrialConfig:
    """``trial`` in the arithmetic that it will have; the photos, which are not decoded yet, do not matter for it."""
    side = trial.data.image_size
    stand_in = DataConfig(data=DIGITS, image_size=side) if side % DIGITS_STEP == 0 else trial.data
    settled = settle_precision(replace(trial, data=replace(stand_in, cache_dir=trial.data.cache_dir)), None)
    return replace(trial, precision=settled.precision)


def recipe_trial(config: SearchConfig, side: int, images: int, classes: int) -> TrialConfig:
    """The recipe as a trial of ``config``, at another image size."""
    recipe = scratch_recipe(image_size=side, images=images, classes=classes, epochs=USUAL_EPOCHS)
    settings: Mapping[str, Any] = replace(config, image_size=side).trial_settings()
    return TrialConfig.from_params({**settings, **recipe})


def _costs(
    config: SearchConfig,
    sides: Sequence[int],
    photos: Photos,
    classes: int,
    slots: Slots,
    cores: int,
    measured: Sequence[Measured],
) -> list[SizeCost]:
    operations = {
        side: size_of(recipe_trial(config, side, photos.counts.train, classes), classes).operations for side in sides
    }
    return [
        cost_at(
            side, operations, measured, photos.counts,
            contention=rules.contention(slots.count, gpu_count() if slots.gpus else 0),
            decode=photos.decode_seconds(replace(config, image_size=side).data_config(), cores),
        )
        for side in sides
    ]  # fmt: skip
