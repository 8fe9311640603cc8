"""Whether trials should be compared at equal epochs or at equal training cost.

    python benchmarks/equal_cost.py --data PHOTOS --image-size 64 --keep equal_cost.jsonl

Trains the recipe with narrower, wider, shallower and deeper networks, whose floating-point operations per image lie
between a quarter and three times those of the recipe, in two ways: for --epochs epochs ("epochs"), and for as many
epochs as cost what --epochs epochs of the recipe's network cost ("cost"; at most --most times --epochs). A schedule
ends with the last epoch of its training.

What a user gets for a given time is the accuracy at equal cost. So the table says which network each of these ways to
compare would choose, and how many points its accuracy at equal cost is below the best one:
"epochs": the accuracy after --epochs epochs; "epochs_rung": after --rung epochs of the same training, as at a rung of
    ASHA.
"cost": the accuracy at equal cost; "cost_rung": at the same share of this training as --rung is of --epochs.
Beside each stands Spearman's rank correlation with the accuracy at equal cost, with its bootstrap interval over the
networks, and the processor seconds of all trainings until then as a multiple of those of "cost".

Accuracies are the best ones so far, means over --seeds. With --seeds 2 or more, "cost" and the others are of different
seeds: each seed's choices are judged by the mean of the other seeds, so that no choice is judged by its own noise. The
test split is not looked at. Each training runs in a fresh process; with --keep FILE, finished trainings are kept in
FILE, and the same command continues an interrupted benchmark.
"""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from kept_rows import KeptRows
from measure import hardware, measured
from one_training import train, used_threads
from recipe_here import Images, recipe_params
from rung_ranks import Array, correlation

from inat.constants import CACHE_DIR

WAYS = ("epochs_rung", "epochs", "cost_rung", "cost")
Rows = dict[tuple[int, int, int], dict[str, Any]]  # by network, epochs and seed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare networks at equal epochs and at equal cost."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    rung: int = 3
    """Epochs of the rung."""
    photos: int = 0
    """Train on N of the training photos only, including those that validate. 0: on all."""
    val_share: float = 0.2
    """Part of the training photos that validates."""
    widths: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Filters, as multiples of the recipe's."""
    depths: tuple[int, ...] = (1, 2, 3)
    """Convolutions per stage."""
    most: float = 3.0
    """Most epochs, as a multiple of --epochs."""
    seeds: int = 2
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    keep: Path | None = None
    """JSON lines file of finished trainings, which are not repeated."""
    only: str | None = None
    """Run one training, given as a JSON object of hyperparameters, and print its numbers."""


@dataclass(frozen=True, slots=True)
class Network:
    """The hyperparameters of a network, and its operations as a multiple of those of the recipe."""

    params: Mapping[str, Any]
    cost: float

    def epochs(self, options: Options) -> int:
        """The epochs that cost what --epochs epochs of the recipe cost."""
        return max(1, min(round(options.epochs / self.cost), round(options.most * options.epochs)))


def main() -> None:
    """Run the trainings that --keep lacks, then print the table and the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(train(json.loads(options.only), options.threads)))
        return
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    with tempfile.TemporaryDirectory() as folder:
        images = Images(options.data, options.image_size, options.cache_dir).part(options.photos, Path(folder))
        used = replace(options, data=images.data, cache_dir=images.cache_dir)
        networks = list(networks_of(used, images))
        rows = train_all(used, options.data.resolve(), networks)
    print_networks(options, networks, rows)
    print_table(options, networks, rows)


def networks_of(options: Options, images: Images) -> Iterator[Network]:
    """The recipe's network and those around it."""
    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits
    from inat.tuning.network_timing import size_of

    recipe = recipe_params(images, options.epochs)
    settings = images.settings | {"max_epochs": options.epochs}
    classes = len(load_splits(TrialConfig.from_params({**settings, **recipe}).data).classes)

    def operations(params: Mapping[str, Any]) -> int:
        return size_of(TrialConfig.from_params({**settings, **params}), classes).operations

    for width in options.widths:
        for depth in options.depths:
            params = recipe | {"width": 8 * round(width * recipe["width"] / 8), "depth": depth}
            yield Network(params, operations(params) / operations(recipe))


def train_all(options: Options, source: Path, networks: list[Network]) -> Rows:
    """Train each network both ways, seed by seed."""
    kept, rows = KeptRows(options.keep), Rows()
    for seed in range(1, options.seeds + 1):
        for number, network in enumerate(networks):
            for epochs in dict.fromkeys((options.epochs, network.epochs(options))):
                case = {
                    "data": str(source), "photos": options.photos, "image_size": options.image_size,
                    "val_share": options.val_share, "params": network.params, "epochs": epochs, "seed": seed,
                }  # fmt: skip
                row = kept.get_or_run(case, lambda case=case: _train(options, case))  # type: ignore[misc]
                rows[number, epochs, seed] = dict(row)
                print(f"seed {seed} cost {network.cost:.2f} epochs {epochs}: {row['val']:.4f}", flush=True)
    return rows


def _train(options: Options, case: Mapping[str, Any]) -> dict[str, Any]:
    settings = Images(options.data, options.image_size, options.cache_dir).settings
    given = {
        "val_share": case["val_share"],
        "seed": case["seed"],
        "max_epochs": case["epochs"],
        "patience": case["epochs"],
    }
    only = json.dumps({**settings, **case["params"], **given})
    return measured(__file__, options, only=only, keep=None)


def accuracies(options: Options, networks: list[Network], rows: Rows, way: str, seed: int) -> Array:
    """The best accuracy of each network until the moment that ``way`` compares at."""
    values = []
    for number, network in enumerate(networks):
        row = rows[number, options.epochs if way.startswith("epochs") else network.epochs(options), seed]
        values.append(max(row["curve"][: _until(options, way, len(row["curve"]))]))
    return np.array(values)


def _until(options: Options, way: str, epochs: int) -> int:
    return max(1, math.ceil(epochs * options.rung / options.epochs)) if way.endswith("_rung") else epochs


def seconds(options: Options, networks: list[Network], rows: Rows, way: str) -> float:
    """Processor seconds until ``way`` can compare all networks, per seed."""
    total = 0.0
    for (number, epochs, _), row in rows.items():
        if epochs == (options.epochs if way.startswith("epochs") else networks[number].epochs(options)):
            total += row["cpu"] * _until(options, way, epochs) / epochs
    return total / options.seeds


def print_networks(options: Options, networks: list[Network], rows: Rows) -> None:
    """Print the mean accuracies of each network."""
    seeds = range(1, options.seeds + 1)
    means = {way: np.mean([accuracies(options, networks, rows, way, seed) for seed in seeds], axis=0) for way in WAYS}
    for number, network in enumerate(networks):
        values = "  ".join(f"{way} {means[way][number]:.4f}" for way in WAYS)
        print(f"width {network.params['width']:3} depth {network.params['depth']} cost {network.cost:.2f} "
              f"epochs at equal cost {network.epochs(options):2}  {values}")  # fmt: skip


def print_table(options: Options, networks: list[Network], rows: Rows) -> None:
    """Print what each way to compare chooses and costs, then the result line."""
    seeds, fields = range(1, options.seeds + 1), list[str]()
    final = {seed: accuracies(options, networks, rows, "cost", seed) for seed in seeds}
    whole = seconds(options, networks, rows, "cost")
    for way in WAYS:
        lost, ranks = [], []
        for seed in seeds:
            judged = np.mean([final[other] for other in seeds if other != seed or options.seeds == 1], axis=0)
            compared = accuracies(options, networks, rows, way, seed)
            lost.append(100 * float(judged.max() - judged[int(np.argmax(compared))]))
            ranks.append(correlation(compared, judged))
        share = seconds(options, networks, rows, way) / whole
        mean = float(np.mean(lost))
        each = ", ".join(f"{points:.1f}" for points in lost)
        print(f"{way:11} chooses {mean:.1f} points below the best at equal cost ({each}); "
              f"rank correlation {', '.join(rank.text() for rank in ranks)}; cost {share:.2f}")  # fmt: skip
        fields += [f"{way}_lost={mean:.2f}", f"{way}_rank={np.mean([rank.value for rank in ranks]):.3f}",
                   f"{way}_cost={share:.2f}"]  # fmt: skip
    print("result:", *fields)


if __name__ == "__main__":
    main()
