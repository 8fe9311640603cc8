"""Which accuracies at early rungs rank configurations like their final accuracies: schedules and lower resolution.

    python benchmarks/schedules.py --data PHOTOS --photos 10000 --image-size 32 --keep schedules.jsonl

Trains configurations drawn at random from the space "modern", each with the schedules below in place of its own, and
compares its validation accuracy at each of --rungs epochs with that after --epochs epochs of the same schedule. Ways to
get the accuracy at a rung:
"cosine_cut", "trapezoid_cut": the training of all epochs, cut at the rung; costs nothing beyond the rung.
"cosine_end", "trapezoid_end": a training whose schedule, with the same share of warm-up, ends at the rung. A trapezoid
    can be continued from where its rate begins to fall; a cosine has to start again.
"cosine_end_low", "trapezoid_end_low": the same on images of --low-size px. Where they are too small for a stage of the
    network, it has one stage less.

Prints Spearman's rank correlation with its bootstrap interval (over the configurations), by how much it exceeds that of
the first of --ways, and what successive halving would choose: how many points its choice is below the best
configuration. "cost" are the processor seconds of the rung, as a share of those of all epochs. Accuracies are the best
ones so far, means over --seeds. The test split is not looked at. Each training runs in a fresh process, --jobs at a
time; with --keep FILE, finished trainings are kept in FILE, and the same command continues an interrupted benchmark.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tyro
from kept_rows import KeptRows
from measure import hardware, measured
from one_training import train, used_threads
from photo_subset import link_some_photos
from rung_ranks import Array, correlation, correlation_gain, mean_loss

from inat.constants import CACHE_DIR

Way = Literal["cosine_cut", "cosine_end", "cosine_end_low", "trapezoid_cut", "trapezoid_end", "trapezoid_end_low"]
WAYS: tuple[Way, ...] = get_args(Way)
Rows = Mapping[tuple[Any, ...], Mapping[str, Any]]  # by configuration, seed, schedule, epochs and size
DRAWS = 50  # for each configuration that is wanted, until enough are small


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare ways to judge configurations early."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 32
    low_size: int | None = None
    """Side of the smaller images. Default: half of --image-size."""
    photos: int | None = None
    """Train on N of the training photos only, including those that validate."""
    epochs: int = 12
    rungs: tuple[int, ...] = (3, 6)
    factor: int = 3
    """Successive halving keeps the best 1/N at each rung."""
    ways: tuple[Way, ...] = WAYS
    """What to compare; the others are compared with the first."""
    configurations: int = 16
    """Configurations, drawn at random."""
    most_cost: float = 1.0
    """Most floating-point operations per image, as a multiple of the recipe's."""
    draw_seed: int = 0
    """Seed of the draw."""
    seeds: int = 1
    """Trainings of each configuration, averaged."""
    threads: int = 1
    jobs: int = 1
    """Trainings at the same time."""
    cache_dir: Path = CACHE_DIR
    keep: Path | None = None
    """JSON lines file of finished trainings, which are not repeated."""
    only: str | None = None
    """Run one training, given as a JSON object of hyperparameters, and print its numbers."""

    @property
    def small(self) -> int:
        """Side of the smaller images."""
        return self.low_size or self.image_size // 2


def main() -> None:
    """Run the trainings that --keep lacks, then print the tables and the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(train(json.loads(options.only), options.threads)))
        return
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    source = options.data.resolve()
    options = replace(options, data=source)
    with tempfile.TemporaryDirectory() as folder:
        if options.photos:
            data = link_some_photos(source, options.photos, Path(folder) / "photos")
            options = replace(options, data=data, cache_dir=Path(folder) / "cache")
        drawn = draw(options)
        print(f"{len(drawn)} configurations")
        rows = train_all(options, source, drawn)
    print_tables(options, rows, len(drawn))


def draw(options: Options) -> list[dict[str, Any]]:
    """Different configurations of the space, without their schedules, that cost at most --most-cost recipes."""
    import optuna

    from inat.config.search import SearchConfig
    from inat.config.trial import DataConfig, active_params
    from inat.data.splits import load_splits
    from inat.tuning.space.domains import optuna_space
    from inat.tuning.space.presets import space_of
    from inat.tuning.space.scratch_recipe import scratch_recipe

    splits = load_splits(DataConfig(**settings(options)))
    classes, images = len(splits.classes), len(splits.train)
    print(f"{images} training and {len(splits.val)} validation images")
    recipe = scratch_recipe(image_size=options.image_size, images=images, classes=classes, epochs=options.epochs)
    most = options.most_cost * operations(options, recipe, classes)
    config = SearchConfig(
        data=str(options.data), image_size=options.image_size, cache_dir=options.cache_dir, keep_duplicates=True,
        space="modern", max_epochs=options.epochs,
    )  # fmt: skip
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=options.draw_seed))
    distributions = optuna_space(space_of(config))
    found: dict[str, dict[str, Any]] = {}
    for _ in range(DRAWS * options.configurations):
        drawn = study.ask(distributions).params
        if len(found) < options.configurations and operations(options, drawn, classes) <= most:
            params = {name: value for name, value in active_params(drawn).items() if name != "schedule"}
            found.setdefault(json.dumps(params, sort_keys=True), params)
    return list(found.values())


def settings(options: Options) -> dict[str, Any]:
    """The settings of the images."""
    return {"data": str(options.data), "image_size": options.image_size, "cache_dir": str(options.cache_dir)}


def operations(options: Options, params: Mapping[str, Any], classes: int) -> int:
    """Floating-point operations of a forward pass of one image."""
    from inat.config.trial import TrialConfig
    from inat.tuning.network_timing import size_of

    config = TrialConfig.from_params({**settings(options), "max_epochs": options.epochs, **params})
    return size_of(config, classes).operations


def needed(options: Options) -> Iterator[tuple[str, int, int]]:
    """Schedule, epochs and image size of each training of a configuration."""
    for schedule in dict.fromkeys(way.partition("_")[0] for way in options.ways):
        yield schedule, options.epochs, options.image_size
        for rung in options.rungs:
            if f"{schedule}_end" in options.ways:
                yield schedule, rung, options.image_size
            if f"{schedule}_end_low" in options.ways:
                yield schedule, rung, options.small


def train_all(options: Options, source: Path, drawn: Sequence[Mapping[str, Any]]) -> Rows:
    """Train each configuration in each way; configuration by configuration, so that a part of them is comparable."""
    kept = KeptRows(options.keep)
    keys = [(number, seed, *training) for number in range(len(drawn)) for seed in range(1, options.seeds + 1)
            for training in needed(options)]  # fmt: skip

    def one(key: tuple[int, int, str, int, int]) -> dict[str, Any]:
        number, seed, schedule, epochs, size = key
        params = {**drawn[number], "schedule": schedule, "seed": seed, "image_size": size, "max_epochs": epochs}
        case = {"data": str(source), "photos": options.photos, "threads": options.threads, "params": params}
        wanted = settings(options) | params | {"patience": epochs}
        row = kept.get_or_run(case, lambda: measured(__file__, options, only=json.dumps(wanted), keep=None))
        print(f"configuration {number} seed {seed} {schedule} {epochs} epochs {size} px: {row['val']:.4f}", flush=True)
        return row

    with ThreadPoolExecutor(options.jobs) as pool:
        return dict(zip(keys, pool.map(one, keys), strict=True))


def accuracies(options: Options, rows: Rows, count: int, training: tuple[str, int, int], epochs: int) -> Array:
    """The best accuracy in the first ``epochs`` epochs of a training, for each configuration."""
    seeds = range(1, options.seeds + 1)
    means = (statistics.mean(max(rows[number, seed, *training]["curve"][:epochs]) for seed in seeds)
             for number in range(count))  # fmt: skip
    return np.array(list(means))


def seconds(rows: Rows, training: tuple[str, int, int]) -> float:
    """Processor seconds per training."""
    return float(statistics.mean(row["cpu"] for key, row in rows.items() if key[2:] == training))


def print_tables(options: Options, rows: Rows, count: int) -> None:
    """Print the correlations and the choices of successive halving, then the result line."""
    fields: list[str] = []
    base: dict[int, tuple[Array, Array]] = {}
    for way in options.ways:
        schedule, cut = way.partition("_")[0], way.endswith("_cut")
        whole = (schedule, options.epochs, options.image_size)
        final = accuracies(options, rows, count, whole, options.epochs)
        at_rungs = []
        for rung in options.rungs:
            size = options.small if way.endswith("_low") else options.image_size
            training = whole if cut else (schedule, rung, size)
            at_rungs.append(accuracies(options, rows, count, training, rung))
            share = rung / options.epochs if cut else seconds(rows, training) / seconds(rows, whole)
            found = correlation(at_rungs[-1], final)
            more = correlation_gain(at_rungs[-1], final, *base.setdefault(rung, (at_rungs[-1], final)))
            print(
                f"{way:18} epoch {rung:2}: rank correlation {found.text()}, {more.text()} against {options.ways[0]}; "
                f"accuracy {at_rungs[-1].mean():.4f}, cost {share:.2f}"
            )
            fields.append(f"{way}_{rung}={found.value:.3f}")
        lost = mean_loss(at_rungs, final, options.factor)
        print(f"{way:18} final accuracy: mean {final.mean():.4f}, best {final.max():.4f}; successive halving is "
              f"{lost.text('.1f')} points below the best")  # fmt: skip
        fields += [f"{way}_final={final.mean():.4f}", f"{way}_lost={lost.value:.2f}"]
    print("result:", *fields)


if __name__ == "__main__":
    main()
