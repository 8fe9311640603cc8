"""Test accuracy of the published configuration and of a modern one, at equal epochs and at equal wall time.

    python benchmarks/accuracy.py --data PHOTOS
    python benchmarks/accuracy.py --data PHOTOS --modern results/STUDY/best.json    # of a search of --space modern

The published configuration, "published" in the results, is the best one published for nature_12K: gelu, batch norm,
5 convolutions, dense 512, dropout 0.3, Adam at 1e-4. The step of its StepLR is not published; here the rate drops to a
tenth after 10 epochs, inat's default. MODERN was chosen by validation accuracy (see reports/). Both train on the same
images, split and precision; --width narrows the published 128 filters for machines without a GPU.

Every training runs in a fresh process on --threads threads, the sides in turn. No training stops early, and the epoch
with the best validation accuracy is tested. "modern_wall" trains for as many epochs as fit into the processor time of
the published configuration; with one thread that is the wall time on an idle machine. "published_lr" is the published
configuration at that rate of --rates which has the best mean validation accuracy.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measure import hardware, measured, ratios, result_line

from inat.constants import CACHE_DIR

PUBLISHED: dict[str, Any] = {
    "filter_org": 1, "conv_layers": 5, "activation": "gelu", "dropout": 0.3, "batch_norm": True,
    "num_neurons_dense": 512, "learning_rate": 1e-4, "batch_size": 64, "use_augmentation": False,
}  # fmt: skip
MODERN: dict[str, Any] = {
    "first_layer_filters": 16, "filter_org": 2, "conv_layers": 4, "block": "residual", "pooling": "average",
    "activation": "gelu", "dropout": 0.0, "batch_norm": True, "batch_size": 32, "learning_rate": 5e-3,
    "use_augmentation": False, "schedule": "cosine", "warmup_share": 0.2, "weight_decay": 0.05,
    "label_smoothing": 0.1, "ema_decay": 0.99,
}  # fmt: skip
Parts = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare accuracies."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    width: int = 32
    """First-layer filters of the published network. As published: 128."""
    modern: Path | None = None
    """JSON with the modern configuration, or the best.json of a study. Default: the one in this script."""
    seeds: int = 5
    """Trainings per side."""
    first_seed: int = 1
    """First seed; not 0, because the modern configuration was chosen with seed 0."""
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates to try for published_lr."""
    only: str | None = None
    """Run one training, given as a JSON object of hyperparameters, and print its numbers."""


def train(options: Options, params: Mapping[str, Any]) -> dict[str, float]:
    """Train once: accuracies of the best epoch, seconds and processor seconds of all epochs, number of parameters."""
    import pytorch_lightning as pl
    import torch

    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits
    from inat.training.checkpoint import portable_checkpoint
    from inat.training.epoch_recorder import recorder_of
    from inat.training.evaluation import evaluate
    from inat.training.fit import fit

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if recorder_of(trainer).improved:
                torch.save(portable_checkpoint(trainer), path)

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.ckpt"
        config = TrialConfig.from_params(settings(options) | dict(params))
        load_splits(config.data)  # decodes the images before the clock starts
        started, processor = time.monotonic(), time.process_time()
        last = fit(config, [Keep()])
        seconds, processor = time.monotonic() - started, time.process_time() - processor
        tested = evaluate(path, "test")
    return {"test": tested["test_acc"], "val": last["best_val_acc"], "seconds": seconds, "cpu": processor,
            "epochs": last["epochs"], "parameters": last["trainable_parameters"]}  # fmt: skip


def settings(options: Options) -> dict[str, Any]:
    """The settings of every training."""
    return {"data": str(options.data), "image_size": options.image_size, "cache_dir": str(options.cache_dir),
            "max_epochs": options.epochs, "patience": options.epochs}  # fmt: skip


def modern_params(options: Options) -> dict[str, Any]:
    """The modern configuration, from this script or from a file."""
    if options.modern is None:
        return MODERN
    content: dict[str, Any] = json.loads(options.modern.read_text(encoding="utf-8"))
    chosen: dict[str, Any] = content.get("params", content)
    return chosen


def run_side(options: Options, name: str, params: Mapping[str, Any], seed: int, parts: Parts, **changes: Any) -> None:
    """Train once in a fresh process and add its numbers to ``parts``."""
    wanted = json.dumps(dict(params) | {"seed": seed})
    found = measured(__file__, options, only=wanted, data=options.data.resolve(), **changes)
    print(f"seed {seed} {name:15}", *(f"{key}={value:.5g}" for key, value in found.items()), flush=True)
    for key, value in found.items():
        parts.setdefault(f"{name}_{key}", []).append(value)


def compare(options: Options) -> Parts:
    """Run all trainings: both sides in turn, then the modern side in the processor time of the published one."""
    parts: Parts = {}
    published = PUBLISHED | {"first_layer_filters": options.width}
    modern = modern_params(options)
    run_side(options, "warm_up", published, 0, {}, epochs=1)  # decodes the images
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        run_side(options, "published", published, seed, parts)
        run_side(options, "modern", modern, seed, parts)
    slower = statistics.median(parts["modern_cpu"]) / statistics.median(parts["published_cpu"])
    epochs = max(1, int(options.epochs / slower))
    if epochs == options.epochs:  # the same trainings
        parts |= {
            name.replace("modern_", "modern_wall_"): values for name, values in parts.items() if "modern_" in name
        }
    else:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            run_side(options, "modern_wall", modern, seed, parts, epochs=epochs)
    if options.rates:
        parts |= tuned(options, published)
    return parts


def tuned(options: Options, published: Mapping[str, Any]) -> Parts:
    """The published configuration at the learning rate with the best mean validation accuracy over all seeds."""
    tried: dict[float, Parts] = {rate: {} for rate in options.rates}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for rate, parts in tried.items():
            run_side(options, f"published_lr_{rate:g}", dict(published) | {"learning_rate": rate}, seed, parts)
    best = max(options.rates, key=lambda rate: statistics.mean(tried[rate][f"published_lr_{rate:g}_val"]))
    prefix = f"published_lr_{best:g}"
    print(f"published_lr has the learning rate {best:g}")
    return {name.replace(prefix, "published_lr"): values for name, values in tried[best].items()}


def print_table(parts: Parts) -> None:
    """Print mean and standard deviation of each side; add its gain and time over the published side, per seed."""
    sides = [name.removesuffix("_test") for name in parts if name.endswith("_test")]
    for side in sides:
        numbers = {key: parts[f"{side}_{key}"] for key in ("test", "val", "seconds", "cpu", "epochs", "parameters")}
        print(f"{side:15}", *(f"{key} {statistics.mean(v):.5g} +- {deviation(v):.3g}" for key, v in numbers.items()))
    for side in sides[1:]:
        parts[f"{side}_gain"] = [
            100 * (a - b) for a, b in zip(parts[f"{side}_test"], parts["published_test"], strict=True)
        ]
        parts[f"{side}_time"] = ratios(parts[f"{side}_seconds"], parts["published_seconds"])
        parts[f"{side}_cpu_time"] = ratios(parts[f"{side}_cpu"], parts["published_cpu"])
        gains = parts[f"{side}_gain"]
        print(f"{side:15} {statistics.mean(gains):+.1f} +- {deviation(gains):.1f} points of test accuracy")


def deviation(values: list[float]) -> float:
    """The sample standard deviation; 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    """Run all trainings and print the table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(train(options, json.loads(options.only))))
        return
    print(f"{hardware()}, {options.threads} of {os.cpu_count()} threads\n{options}\nmodern: {modern_params(options)}")
    parts = compare(options)
    print_table(parts)
    print(result_line({name: values for name, values in parts.items() if name.endswith(("_test", "_gain", "_time"))}))


if __name__ == "__main__":
    main()
