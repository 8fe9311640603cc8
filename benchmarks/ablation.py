"""What each part of the recipe gives: trainings of the whole recipe, and of the recipe without one part.

    python benchmarks/ablation.py --data PHOTOS --image-size 64 --keep ablation.jsonl
    python benchmarks/ablation.py --data PHOTOS --image-size 32 --photos 12000 --parts optimizer pooling --seeds 2

The recipe is that of `--space modern` for these images. CHANGES says what takes the place of each part; that of the
optimizer is AdamW at that rate of --rates which has the best mean validation accuracy. The seeds are the same on both
sides, and the sides take turns. The result is the best validation accuracy; "early" is that after a
third of the epochs, where ASHA compares first. The test split is not looked at. Gains are in points, with the 95 %
interval of Student's t over the differences paired by seed; "cpu" is the processor time of the whole recipe divided by
that without the part. With --keep FILE, the same command continues an interrupted benchmark.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro
from intervals import Mean, paired
from kept_rows import KeptRows
from measure import as_arguments, hardware, in_fresh_process
from one_training import train, used_threads
from rates import best_rate, rate_name
from recipe_here import Images, recipe_params

from inat.constants import CACHE_DIR

# What takes the place of a part; for the optimizer, the learning rate comes on top.
CHANGES: dict[str, dict[str, Any]] = {
    "optimizer": {"optimizer": "adamw"},
    "pooling": {"pooling": "maximum"},
    "depth": {"depth": 1},
    "augmentation": {"use_augmentation": False},
    "shift": {"augmentation_policy": "light"},
    "shift_for_trivial": {"augmentation_policy": "trivial"},
    "no_cutmix": {"cutmix_alpha": 1.0},
    "no_mixup": {"mixup_alpha": 0.2},
    "no_dropout": {"dropout": 0.3},
    "average": {"ema_decay": 0.0},
    "smoothing": {"label_smoothing": 0.0},
    "no_decay": {"weight_decay": 0.05},
    "warmup": {"warmup_share": 0.0},
    "cosine": {"schedule": "step", "lr_step_epochs": 10, "warmup_share": 0.0},
}
WHOLE, OPTIMIZER = "whole", "optimizer"
Rows = dict[str, dict[int, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Take parts out of the recipe, one at a time."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    photos: tuple[int, ...] = ()
    """Use N of the training photos only; one number. Default: all."""
    parts: tuple[str, ...] = tuple(CHANGES)
    """Parts to take out."""
    rates: tuple[float, ...] = (1e-3, 2e-3, 5e-3)
    """Learning rates to try with AdamW."""
    seeds: int = 3
    first_seed: int = 1
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    keep: Path | None = None
    """JSON lines file of finished trainings, which are not repeated."""
    only: str | None = None
    """Run one training, given as a JSON object, and print its numbers."""


def main() -> None:
    """Run the trainings that --keep lacks, then print the table and the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(train(json.loads(options.only), options.threads)))
        return
    check(options)
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    with tempfile.TemporaryDirectory() as folder:
        rows = run_all(options, Path(folder))
    print_table(rows, options.epochs)


def check(options: Options) -> None:
    """Exit with a sentence if options do not fit together."""
    unknown = [part for part in options.parts if part not in CHANGES]
    if unknown:
        sys.exit(f"error: unknown part {unknown[0]!r}; choose --parts from {', '.join(CHANGES)}")
    if not options.rates:
        sys.exit("error: --rates needs a learning rate")


def run_all(options: Options, folder: Path) -> Rows:
    """The results of the whole recipe and without each part, by seed."""
    count = options.photos[0] if options.photos else 0
    images = Images(options.data, options.image_size, options.cache_dir).part(count, folder)
    recipe, kept = recipe_params(images, options.epochs), KeptRows(options.keep)
    settings = images.settings | {"max_epochs": options.epochs, "patience": options.epochs}
    common = {"photos": count, "data": str(options.data.resolve()), "image_size": options.image_size,
              "epochs": options.epochs}  # fmt: skip
    rows: Rows = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, changes in variants(options):
            params = recipe | changes | {"seed": seed}
            case = common | {"params": params}
            row = kept.get_or_run(case, partial(in_process, options, settings | params))
            print(f"seed {seed} {name:18} val={row['val']:.4f} cpu={row['cpu']:.0f}", flush=True)
            rows.setdefault(name, {})[seed] = row
    return with_best_rate(options, rows)


def in_process(options: Options, params: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one training, in a fresh process."""
    arguments = as_arguments(options, only=json.dumps(params), photos=None, keep=None)
    row: dict[str, Any] = json.loads(in_fresh_process(__file__, *arguments))
    return row


def variants(options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and changes of the whole recipe and of each recipe without a part; the optimizer comes with each rate."""
    yield WHOLE, {}
    for part in options.parts:
        if part == OPTIMIZER:
            yield from ((rate_name(OPTIMIZER, rate), CHANGES[part] | {"learning_rate": rate}) for rate in options.rates)
        else:
            yield part, CHANGES[part]


def with_best_rate(options: Options, rows: Rows) -> Rows:
    """``rows``, of which those of the other optimizer are the ones at its best rate only."""
    names = {rate: rate_name(OPTIMIZER, rate) for rate in options.rates}
    tried = {rate: rows[name] for rate, name in names.items() if name in rows}
    if not tried:
        return rows
    best = tried[best_rate(OPTIMIZER, tried)]
    others = {name: found for name, found in rows.items() if name not in names.values()}
    return {WHOLE: others.pop(WHOLE), OPTIMIZER: best, **others}


def print_table(rows: Rows, epochs: int) -> None:
    """Print accuracies and gains, then the result line."""
    whole, rung = rows[WHOLE], max(1, epochs // 3) - 1
    fields = [Mean.of(_values(whole)).fields("whole")]
    print(f"\n{'whole':14} {Mean.of(_values(whole)).text()}")
    for part in (part for part in rows if part != WHOLE):
        gain = Mean.of([100 * value for value in paired(_column(whole), _column(rows[part]))])
        early = Mean.of([100 * value for value in paired(_column(whole, rung), _column(rows[part], rung))])
        cpu = statistics.median(whole[seed]["cpu"] / rows[part][seed]["cpu"] for seed in whole)
        print(
            f"{part:14} without {Mean.of(_values(rows[part])).text()}, gain {gain.text('+.1f')}, early "
            f"{early.text('+.1f')}, cpu {cpu:.2f}"
        )
        fields += [gain.fields(f"{part}_gain", "+.3g"), f"{part}_cpu={cpu:.3g}"]
    print(" ".join(["result:", *fields]))


def _column(rows: Mapping[int, Mapping[str, Any]], epoch: int | None = None) -> dict[int, float]:
    return {seed: row["val"] if epoch is None else row["curve"][epoch] for seed, row in rows.items()}


def _values(rows: Mapping[int, Mapping[str, Any]]) -> list[float]:
    return list(_column(rows).values())


if __name__ == "__main__":
    main()
