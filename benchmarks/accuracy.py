"""Accuracy of the recipe, of a search, of the published configuration and of a plain ResNet-18, at equal epochs.

    python benchmarks/accuracy.py --data PHOTOS --image-size 64                              # validation accuracy
    python benchmarks/accuracy.py --data PHOTOS --image-size 64 --test --keep accuracy.jsonl # numbers to quote
    python benchmarks/accuracy.py --data PHOTOS --sides published recipe --photos 250 500 1000 2000

--sides chooses among these:
"published": the best configuration published for nature_12K: gelu, batch norm, 5 convolutions, dense 512, dropout 0.3,
    Adam at 1e-4. The step of its StepLR is not published; here the rate drops to a tenth after 10 epochs, inat's
    default. --width narrows its 128 filters for machines without a GPU.
"published_lr": the same at that rate of --rates which has the best mean validation accuracy.
"recipe": what `--space modern` starts from, without any search.
"modern": the best trial of `tune_scratch.py --space modern`, one search per seed, with a time budget of the seconds
    of 8 trainings of the recipe, one trial at a time on as many threads. Its seconds are those of the whole command.
"budget": the same with `tune_scratch.py --time-budget` alone, which plans the epochs and a last training itself. The
    command gets --threads cores, for its last training uses all cores that it sees.
"plain_resnet": a ResNet-18 of timm with the usual script (benchmarks/plain_resnet.py), in float32; up to 64 px with the
    first layers that are usual for CIFAR.

All sides train on the same images. A fifth of the training photos validates, and the epoch with the best validation
accuracy counts. The test split is not looked at without --test, which tests each training once, at that epoch; choose
nothing by its results. With --whole, all training photos are trained on, and the last epoch is tested.

Each training runs in a fresh process on --threads threads, the sides in turn. Seconds and processor seconds ("cpu") are
those of the epochs with their validation; inat has decoded the photos before, the plain script decodes them in each
epoch. With --keep FILE, finished trainings are kept in FILE, and the same command continues an interrupted benchmark.
The result line has means with their 95 % intervals (Student's t, over the seeds), gains in points paired by seed, and
medians of the seconds.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro
from accuracy_table import Found, print_curve, print_table, result_line
from kept_rows import KeptRows
from measure import as_arguments, hardware, in_fresh_process
from one_training import train, used_threads
from rates import best_rate, rate_name
from recipe_here import Images, recipe_params

from inat.constants import CACHE_DIR

Side = Literal["published", "published_lr", "recipe", "modern", "budget", "plain_resnet"]
SEARCHES = ("modern", "budget")
LEAST_PUBLISHED = 32  # px; five convolutions halve the image five times
PUBLISHED: dict[str, Any] = {
    "filter_org": 1, "conv_layers": 5, "activation": "gelu", "dropout": 0.3, "batch_norm": True,
    "num_neurons_dense": 512, "learning_rate": 1e-4, "batch_size": 64, "use_augmentation": False,
}  # fmt: skip
PLAIN = {"cifar_stem_up_to": 64}  # as in plain_resnet.py; tells its kept results from those of another stem
SEARCH_TRAININGS = 8  # of the recipe fit into the time of a search


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare accuracies."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    photos: tuple[int, ...] = ()
    """Train on N of the training photos only, including those that validate; several numbers make a learning curve.
    Default: all photos."""
    sides: tuple[Side, ...] = ("published", "published_lr", "recipe", "modern")
    """What to train."""
    width: int = 32
    """First-layer filters of the published network. As published: 128."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates to try for published_lr."""
    seeds: int = 5
    """Trainings per side."""
    searches: int | None = None
    """Searches of the sides modern and budget. Default: one per seed."""
    first_seed: int = 1
    """First seed; not 0, because configurations are developed with seed 0."""
    test: bool = False
    """Also evaluate each training on the test split, once."""
    whole: bool = False
    """Train on the validation photos, too, and test the last epoch; needs --test, and is not for searches."""
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    keep: Path | None = None
    """JSON lines file of finished trainings, which are not repeated."""
    only: str | None = None
    """Run one training, given as a JSON object, and print its numbers."""


def main() -> None:
    """Run the trainings that --keep lacks, then print the tables and the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(run(options, json.loads(options.only))))
        return
    check(options)
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    kept, found = KeptRows(options.keep), {}
    for count in options.photos or (0,):
        with tempfile.TemporaryDirectory() as folder:
            images = images_of(options).part(count, Path(folder))
            used = replace(options, data=images.data, cache_dir=images.cache_dir)
            found[count] = compare(used, options.data, count, kept)
        print_table(found[count], count)
    if len(found) > 1:
        print_curve(found)
    print(result_line(found))


def check(options: Options) -> None:
    """Exit with a sentence if options do not fit together."""
    searches = [side for side in SEARCHES if side in options.sides]
    if searches and ("recipe" not in options.sides or options.whole):
        sys.exit(f"error: side {searches[0]} needs side recipe, whose time it gets, and no --whole; change --sides")
    if options.image_size < LEAST_PUBLISHED and any(side.startswith("published") for side in options.sides):
        sys.exit(f"error: --image-size {options.image_size} is below {LEAST_PUBLISHED} px; choose other --sides")
    if options.whole and not options.test:
        sys.exit("error: --whole leaves no images for validation; add --test")
    if "published_lr" in options.sides and options.whole and len(options.rates) > 1:
        sys.exit("error: --whole leaves no images to choose a learning rate with; give one with --rates")


def compare(options: Options, source: Path, count: int, kept: KeptRows) -> Found:
    """The results of each side and seed with one number of photos; searches run last, as they need the recipe's time.

    ``source`` and ``count`` identify the photos in the results that are kept.
    """
    recipe = recipe_params(images_of(options), options.epochs, wanted="recipe" in options.sides)
    common = {"data": str(source.resolve()), "photos": count, "image_size": options.image_size,
              "epochs": options.epochs, "threads": options.threads, "test": options.test,
              "whole": options.whole}  # fmt: skip
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for name, case in cases(options, recipe):
        found.setdefault(name, {})[case["seed"]] = measured(options, name, common | case, kept)
    if "published_lr" in options.sides:
        choose_rate(options, found)
    for side in (side for side in SEARCHES if side in options.sides):
        seconds = SEARCH_TRAININGS * statistics.median(row["seconds"] for row in found["recipe"].values())
        for seed in seeds(options)[: options.searches]:
            case = common | {"kind": side, "params": recipe, "seed": seed, "budget": round(seconds)}
            found.setdefault(side, {})[seed] = measured(options, side, case, kept)
    return {side: found[side] for side in options.sides}


def seeds(options: Options) -> range:
    """The seeds of all sides."""
    return range(options.first_seed, options.first_seed + options.seeds)


def cases(options: Options, recipe: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and case of each training, the sides in turn."""
    published = PUBLISHED | {"first_layer_filters": options.width}
    rates = [(rate_name("published", rate), published | {"learning_rate": rate}) for rate in options.rates]
    sides: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "published": [("published", published)], "published_lr": rates, "recipe": [("recipe", dict(recipe))],
    }  # fmt: skip
    for seed in seeds(options):
        for side in options.sides:
            if side == "plain_resnet":
                yield side, {"kind": "plain", "params": PLAIN, "seed": seed}
            for name, params in sides.get(side, []):
                yield name, {"kind": "inat", "params": params, "seed": seed}


def choose_rate(options: Options, found: dict[str, dict[int, dict[str, Any]]]) -> None:
    """Add the side published_lr: the rate with the best mean validation accuracy."""
    if options.whole:  # there is one rate
        found["published_lr"] = found[rate_name("published", options.rates[0])]
        return
    best = best_rate("published_lr", {rate: found[rate_name("published", rate)] for rate in options.rates})
    found["published_lr"] = found[rate_name("published", best)]


def images_of(options: Options) -> Images:
    """The images of every training."""
    return Images(options.data, options.image_size, options.cache_dir, whole=options.whole)


def measured(options: Options, name: str, case: Mapping[str, Any], kept: KeptRows) -> dict[str, Any]:
    """The result of a case, from the file or from a training in a fresh process."""

    def in_process() -> dict[str, Any]:
        only = json.dumps({key: case[key] for key in ("kind", "params", "seed", "budget") if key in case})
        row = json.loads(in_fresh_process(__file__, *as_arguments(options, only=only, photos=None, keep=None)))
        # With --whole, validation is of images that were trained on.
        return {key: value for key, value in row.items() if not (options.whole and key in ("val", "curve"))}

    row = kept.get_or_run(case, in_process)
    numbers = (f"{key}={value:.5g}" for key, value in row.items() if isinstance(value, int | float))
    print(f"seed {case['seed']} {name:18}", *numbers, flush=True)
    return dict(row)


def run(options: Options, case: Mapping[str, Any]) -> dict[str, Any]:
    """Run one training or search in this process."""
    if case["kind"] in SEARCHES:
        from timed_search import on_cores, search

        given = ["--seed", case["seed"], "--image-size", options.image_size, "--cpus-per-trial", options.threads]
        if case["kind"] == "modern":
            given += ["--space", "modern", "--max-epochs", options.epochs, "--patience", options.epochs]
        # The last training of a plan uses all cores that it sees.
        with on_cores(options.threads if case["kind"] == "budget" else None):
            return search(options.data, options.cache_dir, case["budget"], given, options.test)
    if case["kind"] == "plain":
        import plain_resnet

        from inat.config.trial import DataConfig

        data = DataConfig(**images_of(options).settings)
        return plain_resnet.train(data, options.epochs, case["seed"], options.threads, options.test)
    settings = images_of(options).settings | {"max_epochs": options.epochs, "patience": options.epochs}
    return train(settings | case["params"] | {"seed": case["seed"]}, options.threads, options.test)


if __name__ == "__main__":
    main()
