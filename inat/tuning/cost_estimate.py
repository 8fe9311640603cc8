"""--plan: what a fine-tuning search would try and cost, from a few measured batches per backbone."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any

from rich.filesize import decimal
from rich.table import Column, Table

from analysis.markdown import format_duration
from analysis.terminal import PlainConsole
from inat.config.backbones import BackboneConfig, backbone_facts
from inat.config.finetune import FinetuneConfig
from inat.config.trial import active_params
from inat.data.cache_room import reserve_bytes
from inat.data.disk import free_bytes
from inat.data.splits import Splits
from inat.device import gpu_name, kind
from inat.models import weights
from inat.models.backbones import frozen_stage_count
from inat.models.factory import count_trained
from inat.tuning.backbone_timing import BATCH, NetworkCost, measure_backbone
from inat.tuning.describe_data import describe_sizes, describe_times
from inat.tuning.kept_features import altering_share, describe_altering
from inat.tuning.progress import Progress, describe_nothing_left, describe_trials, describe_unplanned, progress_of
from inat.tuning.space.backbone_checks import choices
from inat.tuning.task import Task, check_task
from inat.tuning.trial_cost import ImageCounts, TrialCost, fitting_cost


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The trials of one backbone and strategy.

    ``costs`` has one entry for each value of use_augmentation in the space. ``trials`` is exact for a grid and an
    expected value for a sampler.
    """

    params: Mapping[str, Any]
    image_size: int
    trials: float
    costs: Sequence[TrialCost]

    @property
    def feature_bytes(self) -> int:
        """Bytes of all stored features."""
        return sum(cost.feature_bytes for cost in self.costs)

    @property
    def feature_seconds(self) -> float:
        """Seconds to compute all stored features."""
        return sum(cost.feature_seconds for cost in self.costs)

    @property
    def trial_seconds(self) -> float:
        """Mean seconds of one trial."""
        return statistics.mean(cost.seconds for cost in self.costs)

    @property
    def trial_seconds_without_features(self) -> float:
        """Mean seconds of one trial that sends every image through the whole network in every epoch."""
        return statistics.mean(cost.seconds_without_features for cost in self.costs)


def print_plan(config: FinetuneConfig) -> None:
    """Print what the search that ``config`` describes would do and cost.

    Of a search that is resumed, it is what is left. No study is written. Images are decoded into the cache, as for the
    search. Raises the same ConfigError, DataError or StudyError as the search would, except for its weights.
    """
    console = PlainConsole()
    task = check_task(config)
    if config.weights_dir is not None:
        weights.check_folder(config.weights_dir)
    splits, progress = task.load(), progress_of(task)
    console.print(f"data    {config.data}: {len(splits.classes)} classes\nimages  {describe_sizes(splits)}")
    if not progress.left:
        console.print(f"search  {describe_nothing_left(progress)}")
        return
    rows = make_plan(config, task, splits, progress)
    epochs = f"up to {config.max_epochs} epochs{describe_times(config.folds, config.repeats)}"
    console.print(f"search  {describe_trials(progress).removesuffix(',')}, {epochs}")
    console.print_whole(plan_table(rows))
    console.print(plan_summary(config, rows))
    for line in [*plan_remarks(config, task.space, rows), *describe_unplanned(config)]:
        console.print(line)


def make_plan(config: FinetuneConfig, task: Task, splits: Splits, progress: Progress) -> list[PlanRow]:
    """Make one row per backbone and strategy of the trials that are left; measure each backbone on this machine."""
    counts, max_feature_bytes = ImageCounts(len(splits.train), len(splits.val)), config.max_feature_gb * 1e9
    measured: dict[str, NetworkCost] = {}
    rows = []
    for params, trials in _trials_per_strategy(task, progress):
        backbone = params["backbone"]
        size = config.image_size or backbone_facts(backbone).image_size
        if backbone not in measured:
            measured[backbone] = measure_backbone(backbone, size, len(splits.classes), config)
        frozen = frozen_stage_count(backbone, params["strategy"], params.get("k_layers"))
        costs = [
            fitting_cost(
                measured[backbone],
                frozen,
                counts,
                config.max_epochs * config.trainings,
                views,
                max_feature_bytes,
                shared=config.folds > 1,
                altering=altering_share(config, task.space, params["strategy"]),
            )
            for augmented in choices(task.space, "use_augmentation") or (False,)
            for views in [config.views if augmented else min(config.views, 1)]
        ]
        model = BackboneConfig(**params)
        trainable = count_trained(model, size, len(splits.classes))
        rows.append(PlanRow(params, size, trials, [replace(cost, trainable=trainable) for cost in costs]))
    return rows


def _trials_per_strategy(task: Task, progress: Progress) -> list[tuple[dict[str, Any], float]]:
    """List the backbones and strategies with their number of trials; for a sampler, the number expected by chance."""
    space = task.space
    names = [name for name in ("backbone", "strategy", "k_layers") if name in space]
    combinations = [
        dict(zip(names, values, strict=True)) for values in product(*(choices(space, name) for name in names))
    ]
    first_of = {_strategy_key(params): params for params in reversed(combinations)}
    if task.grid:
        counts = Counter(_strategy_key(params) for params in progress.untried(task.grid))
    else:  # a sampler draws k_layers also where it has no effect
        counts = Counter(_strategy_key(params) for params in combinations)
    share = 1.0 if task.grid else progress.left / len(combinations)
    return [(params, counts[key] * share) for key, params in reversed(first_of.items()) if counts[key]]


def _strategy_key(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(active_params(params).get(name) for name in ("backbone", "strategy", "k_layers"))


def plan_table(rows: Sequence[PlanRow]) -> Table:
    """Make a table with one line per row, grouped by backbone."""
    names = ("trials", "trained", "features", "computed in", "per trial", "uncached")
    columns = (Column(name, justify="right", no_wrap=True) for name in names)
    table = Table(Column("backbone, strategy", no_wrap=True), *columns, box=None, padding=(0, 1, 0, 0))
    for (backbone, size), of_backbone in groupby(rows, key=lambda row: (row.params["backbone"], row.image_size)):
        table.add_row(f"{backbone}, {size} px")
        for row in of_backbone:
            used = active_params(row.params)
            table.add_row(
                f" {used['strategy']}" + (f" k={used['k_layers']}" if "k_layers" in used else ""),
                f"{row.trials:,.0f}",
                parameters(row.costs[0].trainable),
                decimal(row.feature_bytes) if row.feature_bytes else "-",
                format_seconds(row.feature_seconds) if row.feature_bytes else "-",
                format_seconds(row.trial_seconds),
                format_seconds(row.trial_seconds_without_features),
            )
    return table


def parameters(count: int) -> str:
    """Write a number of parameters.

    >>> parameters(12_810), parameters(23_528_522)
    ('12.8 k', '23.5 M')
    """
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"


def plan_summary(config: FinetuneConfig, rows: Sequence[PlanRow]) -> str:
    """Write the totals, and what the estimate is based on."""
    total = sum(row.feature_seconds + row.trials * row.trial_seconds for row in rows)
    without_features = sum(row.trials * row.trial_seconds_without_features for row in rows)
    device = gpu_name() or f"{int(config.cpus_per_trial or 1)} CPU core"
    disk = decimal(sum(row.feature_bytes for row in rows))
    return (
        f"about {format_seconds(total)} on one slot ({device}), with {disk} of features on the disk; "
        f"{format_seconds(without_features)} if every photo went through the whole network in every epoch\n"
        f"estimated from a few batches of {BATCH[kind()]} on this machine, for trials that reach "
        f"epoch {config.max_epochs}; ASHA and --patience end most trials earlier"
    )


def plan_remarks(config: FinetuneConfig, space: Mapping[str, Any], rows: Sequence[PlanRow]) -> list[str]:
    """Say which features are made smaller, which trials keep none, and whether all features fit the cache at once."""
    lines = []
    for row in rows:
        used = active_params(row.params)
        name = " ".join(str(used[key]) for key in ("backbone", "strategy", "k_layers") if key in used)
        lines += [f"{name}: features in {form}" for form in dict.fromkeys(cost.form for cost in row.costs) if form]
    lines += filter(None, [describe_altering(config, space)])
    total = sum(row.feature_bytes for row in rows)
    room = free_bytes(config.cache_dir) - reserve_bytes(config.cache_dir)
    most = min(room, config.max_cache_gb * 1e9) if config.max_cache_gb else room
    if total > most:
        lines.append(
            f"the cache has room for {decimal(max(0, int(most)))} of features: those that no running trial reads make "
            "room for others, and are computed again if a later trial reads them"
        )
    return lines


def format_seconds(seconds: float) -> str:
    """Write a duration, such as 2.3 s, 18 s, 5 min 7 s or 2 h 3 min."""
    return f"{seconds:.1f} s" if seconds < 10 else format_duration(seconds)
