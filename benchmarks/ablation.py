"""What each part of the recipe gives: trainings of the whole recipe, and of the recipe without one part.

    python benchmarks/ablation.py --data PHOTOS --image-size 64 --keep ablation.jsonl
    python benchmarks/ablation.py --data PHOTOS --image-size 32 --photos 12000 --parts optimizer pooling --seeds 2

The recipe is that of `--space modern` for these images. CHANGES says what takes the place of each part. The seeds are
the same on both sides, and the sides take turns. The result is the best validation accuracy; "early" is that after a
third of the epochs, where ASHA compares first. The test split is not looked at. Gains are in points, with the 95 %
interval of Student's t over the differences paired by seed; "cpu" is the processor time of the whole recipe divided by
that without the part. With --keep FILE, the same command continues an interrupted benchmark.
"""

import json
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from accuracy import data_settings, with_photos
from accuracy import recipe_params as params_of
from intervals import Mean, paired
from kept_rows import KeptRows
from measure import as_arguments, hardware, in_fresh_process
from one_training import train, used_threads

from inat.constants import CACHE_DIR

# What takes the place of a part. AdamW has the best rate of a few that were tried with it.
CHANGES: dict[str, dict[str, Any]] = {
    "optimizer": {"optimizer": "adamw", "learning_rate": 5e-3},
    "pooling": {"pooling": "maximum"},
    "depth": {"depth": 1},
    "augmentation": {"use_augmentation": False},
    "shift": {"augmentation_policy": "light"},
    "average": {"ema_decay": 0.0},
    "smoothing": {"label_smoothing": 0.0},
    "decay": {"weight_decay": 0.0},
    "warmup": {"warmup_share": 0.0},
    "cosine": {"schedule": "step", "lr_step_epochs": 10, "warmup_share": 0.0},
}
WHOLE = "whole"
Rows = dict[str, dict[int, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Take parts out of the recipe, one at a time."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    photos: tuple[int, ...] = ()
    """Use the first N training photos only; one number. Default: all."""
    parts: tuple[str, ...] = tuple(CHANGES)
    """Parts to take out."""
    seeds: int = 3
    first_seed: int = 1
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    sides: tuple[str, ...] = ("recipe",)
    whole: bool = False
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
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    with tempfile.TemporaryDirectory() as folder:
        rows = run_all(options, Path(folder))
    print_table(rows, options.epochs)


def run_all(options: Options, folder: Path) -> Rows:
    """The results of the whole recipe and without each part, by seed."""
    count = options.photos[0] if options.photos else 0
    used: Any = with_photos(options, count, folder)  # type: ignore[arg-type]  # the fields it needs are here
    recipe, kept = params_of(used), KeptRows(options.keep)
    settings = data_settings(used) | {"max_epochs": options.epochs, "patience": options.epochs}
    rows: Rows = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for part in (WHOLE, *options.parts):
            params = recipe | CHANGES.get(part, {}) | {"seed": seed}
            case = {"photos": count, "data": str(options.data.resolve()), "image_size": options.image_size,
                    "epochs": options.epochs, "params": params}  # fmt: skip
            row = kept.get(case)
            if row is None:
                only = json.dumps(settings | params)
                arguments = as_arguments(replace(options, data=used.data), only=only, photos=None, keep=None)
                row = json.loads(in_fresh_process(__file__, *arguments))
                kept.add(case, row)
            print(f"seed {seed} {part:14} val={row['val']:.4f} cpu={row['cpu']:.0f}", flush=True)
            rows.setdefault(part, {})[seed] = row
    return rows


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
