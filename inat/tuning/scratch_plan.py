"""--plan of a search from scratch: how many trials and epochs it has, and their cost on this machine."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
import torch
from optuna.samplers import RandomSampler
from rich.filesize import decimal
from rich.table import Column, Table

from analysis.terminal import PlainConsole
from analysis.wording import join_words
from inat.config.search import SearchConfig
from inat.config.trial import TRAINING_NAMES, TrialConfig, active_params
from inat.config.validation import expanded
from inat.constants import DIGITS, PRECISION_JSONL
from inat.data.splits import Splits
from inat.device import gpu_count, gpu_name
from inat.errors import ConfigError
from inat.machine import usable_cores, usable_memory
from inat.study.metadata import read_info
from inat.study.trial import short_name
from inat.training.precision_choice import network_key, read_choice, settle_precision
from inat.tuning.cost_estimate import format_seconds
from inat.tuning.describe_data import describe_sizes, describe_times
from inat.tuning.expected_epochs import expected_epochs
from inat.tuning.gpu_sharing import choose_sharing
from inat.tuning.network_timing import NetworkSize, NetworkSpeed, measure_speeds, size_of
from inat.tuning.progress import Progress, describe_nothing_left, describe_trials, describe_unplanned, progress_of
from inat.tuning.ray_backend.slots import Node, Slots, plan_slots
from inat.tuning.rules import MEASURED, PRECISION_RULE, RULES
from inat.tuning.runner import rungs_of
from inat.tuning.space.domains import optuna_space
from inat.tuning.task import Task, check_task

OWN_DRAWS = 20  # networks of the user are built to count them
DRAWS = 100  # configurations whose size is computed; sorted by it, those that are timed represent equal parts
TIMED = 7
SECONDS = 35.0  # for all measurements together
WEIGHT_BYTES = 4
LAST_FACTOR = 3  # last.ckpt also has the two moments that Adam keeps of each weight


@dataclass(frozen=True, slots=True)
class Timed:
    """A configuration of the space, its size, and its measured speed."""

    config: TrialConfig
    params: Mapping[str, Any]
    size: NetworkSize
    speed: NetworkSpeed


@dataclass(frozen=True, slots=True)
class SearchCost:
    """What a search would do and cost. ``timed`` are representative configurations, the cheapest first.

    ``trials`` are left to run. ``epochs`` are those of all of them and their ``trainings``, one per fold and repeat.
    """

    progress: Progress
    trials: int
    trainings: int
    rungs: Sequence[int]
    epochs: int
    expected_epochs: float
    train: int
    val: int
    timed: Sequence[Timed]
    most_parameters: int
    slots: Slots

    def seconds(self, epochs: float) -> float:
        """Seconds of the search, if all of its trials train ``epochs`` epochs together."""
        start = statistics.mean(each.speed.start for each in self.timed)
        epoch = statistics.mean(self.epoch_seconds)
        trainings = self.trials * self.trainings * epochs / self.epochs
        return (trainings * start + epochs * epoch) / min(self.slots.count, self.trials)

    @property
    def epoch_seconds(self) -> list[float]:
        """Seconds of an epoch of each of ``timed``."""
        return [each.speed.epoch(self.train, self.val) for each in self.timed]


def print_scratch_plan(config: SearchConfig) -> None:
    """Print what the search that ``config`` describes would do and cost, or what is left of the one that it resumes.

    Ray does not start, and no study is written. Images are decoded into the cache, as for the search. Raises the same
    ConfigError, DataError or StudyError as the search would.
    """
    console = PlainConsole()
    task = check_task(config)
    splits, progress = task.load(), progress_of(task)
    side = config.resolved_image_size
    console.print(
        f"data    {config.data}: {len(splits.classes)} classes, {side} x {side} px\nimages  {describe_sizes(splits)}"
    )
    if not progress.left:
        console.print(f"search  {describe_nothing_left(progress)}")
        return
    with console.status("timing networks of the space"):
        cost = estimate_cost(task, splits, progress)
    console.print(f"search  {describe_epochs(config, cost)}")
    console.print_whole(cost_table(config, cost))
    console.print(describe_time(config, cost))
    if "strategy" in task.space:
        console.print("        with every photo through the whole network in every epoch; kept features make it less")
    console.print("\n".join([f"disk    {describe_disk(config, splits, cost)}", *describe_unplanned(config)]))


def estimate_cost(task: Task, splits: Splits, progress: Progress) -> SearchCost:
    """Estimate the cost from configurations drawn from the space; some of them are timed on this machine."""
    config, classes = task.config, len(splits.classes)
    here = [Node(usable_cores(), gpu_count(), memory=usable_memory())]
    sharing = choose_sharing(replace(config, address=None), here, progress.left)
    slots = plan_slots(here, config, sharing.share)
    torch.set_num_threads(max(1, int(slots.cpus)))
    sized = _sorted_by_size(config, draw_params(task, progress), classes)
    chosen = [sized[int((part + 0.5) / TIMED * len(sized))] for part in range(TIMED)]
    speeds = measure_speeds([_as_trial(task, each[0]) for each in chosen], classes, SECONDS / TIMED)
    rungs, longest = rungs_of(config), config.max_epochs * config.trainings
    before, whole = (
        expected_epochs(trials, rungs.steps, longest, config.reduction_factor, config.control_fraction or 0.0)
        for trials in (len(progress.ended), progress.wanted)
    )
    return SearchCost(
        progress=progress,
        trials=progress.left,
        trainings=config.trainings,
        rungs=rungs.milestones,
        epochs=progress.left * longest,
        expected_epochs=whole - before,  # ASHA compares with trials that have ended
        train=len(splits.train),
        val=len(splits.val),
        timed=[Timed(*each, speed) for each, speed in zip(chosen, speeds, strict=True)],
        most_parameters=max(size.parameters for _, _, size in sized),
        slots=slots,
    )


def _as_trial(task: Task, trial: TrialConfig) -> TrialConfig:
    """``trial`` in the arithmetic that it will have: the one chosen in its study, or else measured on this machine."""
    resumed = task.config.resume
    if resumed is None:
        return settle_precision(trial, None)
    study = expanded(resumed)
    if trial.precision != "auto" or read_info(study).get(RULES, {}).get(PRECISION_RULE) != MEASURED:
        return trial
    known = read_choice(study / PRECISION_JSONL, network_key(trial))  # a plan adds nothing to the study
    return settle_precision(trial, None) if known is None else replace(trial, precision=known)


def draw_params(task: Task, progress: Progress) -> list[Mapping[str, Any]]:
    """Return hyperparameters of trials that are left: those of a grid, else random ones."""
    draws = DRAWS if task.config.model is None else OWN_DRAWS
    if task.grid:
        grid = progress.untried(task.grid)
        step = max(1, len(grid) // draws)
        return grid[::step]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=RandomSampler(seed=task.config.seed))
    distributions = optuna_space(task.space)
    return [study.ask(distributions).params for _ in range(draws)]


def _sorted_by_size(
    config: SearchConfig, drawn: Sequence[Mapping[str, Any]], num_classes: int
) -> list[tuple[TrialConfig, Mapping[str, Any], NetworkSize]]:
    sized: list[tuple[TrialConfig, Mapping[str, Any], NetworkSize]] = []
    problems: list[str] = []
    for params in drawn:
        try:
            trial = TrialConfig.from_params({**config.trial_settings(), **params})
        except ConfigError as error:  # such as too many poolings; this trial would fail at once
            problems += error.problems
            continue
        sized.append((trial, params, size_of(trial, num_classes)))
    if not sized:
        raise ConfigError(*dict.fromkeys(problems))
    return sorted(sized, key=lambda each: each[2].operations)


def describe_epochs(config: SearchConfig, cost: SearchCost) -> str:
    """Write the number of trials, and of the epochs with and without ASHA."""
    times = describe_times(config.folds, config.repeats)
    text = f"{describe_trials(cost.progress)} of up to {config.max_epochs} epochs{times}: {cost.epochs:,} epochs"
    places = [f"epoch{'s' if len(cost.rungs) > 1 else ''} {join_words(cost.rungs)}"] if cost.rungs else []
    places += ["the end of each training"] if times else []
    if not places:
        return f"{text}; ASHA stops no trial before epoch {config.max_epochs}"
    expected = f"{round(cost.expected_epochs, -1):,.0f}"
    return f"{text}, about {expected} with ASHA, which compares trials at {' and at '.join(places)}"


def cost_table(config: SearchConfig, cost: SearchCost) -> Table:
    """Make a table with a cheap, a median and an expensive configuration."""
    columns = (Column(name, justify="right", no_wrap=True) for name in ("parameters", "epoch", "whole trial"))
    table = Table(Column("network", no_wrap=True), *columns, box=None, padding=(0, 1))
    for word, index in (("cheap", 0), ("median", len(cost.timed) // 2), ("expensive", -1)):
        each, epoch = cost.timed[index], cost.epoch_seconds[index]
        table.add_row(
            f"{word}: {network_name(each.params)}",
            f"{each.size.parameters:,}",
            format_seconds(epoch),
            format_seconds(config.trainings * (each.speed.start + config.max_epochs * epoch)),
        )
    return table


def network_name(params: Mapping[str, Any]) -> str:
    """Name what decides the cost of a configuration: the network, the batch size, and whether images are augmented."""
    if "conv_layers" not in params:  # a network of the user
        return short_name({n: v for n, v in params.items() if n not in TRAINING_NAMES or n == "batch_size"})
    names = ("first_layer_filters", "filter_org", "conv_layers", "block", "pooling", "batch_norm", "batch_size",
             "use_augmentation", "num_neurons_dense")  # fmt: skip
    return short_name({name: value for name, value in active_params(params).items() if name in names})


def describe_time(config: SearchConfig, cost: SearchCost) -> str:
    """Write the time of the search, and what the estimate is based on."""
    device = gpu_name() or f"{usable_cores()} CPU cores"
    place = f"on this machine ({device}, {cost.slots})"
    all_reach = f"if every trial reaches epoch {config.max_epochs}"
    if config.trainings > 1:
        all_reach += " in every training"
    most, expected = (format_seconds(cost.seconds(epochs)) for epochs in (cost.epochs, cost.expected_epochs))
    stops = cost.expected_epochs < cost.epochs
    time = f"about {expected} {place}; {most} {all_reach}" if stops else f"about {most} {place} {all_reach}"
    return (
        f"time    {time}\n"
        f"        estimated from a few steps of {len(cost.timed)} configurations drawn from the space; --patience "
        "ends trials earlier, and the sampler may prefer cheaper or dearer ones\n"
        "        starting Ray and its workers, and the report, come on top"
    )


def describe_disk(config: SearchConfig, splits: Splits, cost: SearchCost) -> str:
    """Write the bytes of checkpoints in the study, and of decoded images, which the cache has already."""
    weights = cost.most_parameters * WEIGHT_BYTES
    running = min(cost.slots.count, cost.trials)
    kept = min(config.keep_checkpoints, cost.progress.wanted)
    if config.trainings == 1 and any(each.config.can_train_longer for each in cost.timed):
        kept *= 1 + LAST_FACTOR  # end.ckpt
    checkpoints = (kept + 1 + running * (1 + LAST_FACTOR)) * weights
    text = f"up to {decimal(checkpoints)} for checkpoints"
    if config.data == DIGITS:
        return text
    crops = [splits.train.crops.images] if splits.train.crops else []
    stored = {id(array): array.nbytes for array in (splits.train.images, splits.test.images, *crops)}
    return f"{text}; {decimal(sum(stored.values()))} of decoded photos are in {config.cache_dir}"
