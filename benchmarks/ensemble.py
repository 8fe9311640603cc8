"""What averaging models gains: the best single run against ensembles of runs and soups of their weights.

    python benchmarks/ensemble.py --data PHOTOS
    python benchmarks/ensemble.py --data PHOTOS --kind head --weights-dir FOLDER_WITH_mobilenet_v2.pth    # or k2

Every configuration of the kind trains with every seed; "scratch" are small residual networks, "head" a head on frozen
stages, "k2" the last two stages and the head. All choices are made on the validation split, and every row is then
tested on the same images:

mean         mean of all runs alone; what to expect of one training
model        the run that inat.finalize ships: the median of the configuration with the best mean
best         the run with the best validation accuracy
top          mean of the probabilities of the --top best runs
seeds        mean of the probabilities of all seeds of the configuration with the best mean
all          mean of the probabilities of all runs
greedy       what inat.finalize chooses (Caruana et al. 2004): starts from the best run, equal accuracies are decided by
             the cross entropy
greedy_plain the same, but stops at an equal accuracy
soup         mean of the weights of all seeds of that configuration (Wortsman et al. 2022); the statistics of its batch
             norms are computed anew from the training images
greedy_soup  the same for those seeds, from the best on, that do not worsen the validation accuracy of the soup

With --rounds, each round has seeds of its own, and the result line gives median, minimum and maximum over them.
Checkpoints are kept in --output, and trainings that it has are not repeated.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
import tyro
from measure import hardware, result_line
from torch import Tensor

from analysis.stats.pairs import compare_pairs
from analysis.stats.shares import share_interval
from inat.config.objective import ACCURACY
from inat.constants import CACHE_DIR, TEST, VAL
from inat.data.datamodule import ImageDataModule
from inat.data.loader import Batch
from inat.device import this_device
from inat.finalize.selection import mean_probabilities, objective_value, select_greedily
from inat.models.norms import BATCH_NORMS
from inat.training.checkpoint import LoadedCheckpoint, load_checkpoint
from inat.training.evaluation import split_logits
from inat.training.inference import Model

Kind = Literal["scratch", "head", "k2"]
Params = dict[str, Any]
SCRATCH: Params = {
    "first_layer_filters": 16, "filter_org": 2, "conv_layers": 4, "block": "residual", "pooling": "average",
    "activation": "gelu", "dropout": 0.0, "batch_norm": True, "batch_size": 32, "learning_rate": 5e-3,
    "use_augmentation": False, "schedule": "cosine", "warmup_share": 0.2, "weight_decay": 0.05,
    "label_smoothing": 0.1, "ema_decay": 0.99,
}  # fmt: skip
FINE_TUNED: Params = {
    "backbone": "mobilenet_v2", "batch_size": 32, "use_augmentation": False, "optimizer": "adamw", "resize": "crop",
    "weight_decay": 0.05, "schedule": "cosine", "warmup_share": 0.1, "feature_rules": 2, "precision": "32-true",
}  # fmt: skip
HEAD: Params = FINE_TUNED | {"strategy": "freeze_all"}
K2: Params = FINE_TUNED | {"strategy": "freeze_partial", "k_layers": 2}
CONFIGS: Mapping[Kind, Sequence[Params]] = {
    "scratch": (
        SCRATCH,
        SCRATCH | {"learning_rate": 2e-3, "activation": "relu", "first_layer_filters": 24},
        SCRATCH | {"learning_rate": 8e-3, "activation": "mish", "batch_size": 64},
    ),
    "head": tuple(HEAD | {"learning_rate": rate} for rate in (1e-3, 3e-3, 3e-4)),
    "k2": tuple(K2 | {"learning_rate": rate} for rate in (1e-3, 3e-4, 1e-4)),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare ensembles and soups with single models."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    kind: Kind = "scratch"
    """Networks to train."""
    weights_dir: Path = Path("weights")
    """Folder with mobilenet_v2.pth, for the kinds head and k2."""
    image_size: int = 64
    epochs: int = 12
    configs: int = 3
    """Number of configurations, the first of the kind."""
    seeds: int = 5
    """Trainings per configuration and round."""
    rounds: int = 1
    first_seed: int = 1
    top: int = 3
    """Runs whose probabilities "top" averages."""
    threads: int = 1
    output: Path = Path("ensemble")
    """Folder for checkpoints."""
    cache_dir: Path = CACHE_DIR


@dataclass(frozen=True)
class Run:
    """A trained model: its configuration and checkpoint, and its probabilities on both splits."""

    config: int
    seed: int
    checkpoint: Path
    val: Tensor
    test: Tensor


@dataclass(frozen=True)
class Row:
    """Probabilities of one way to predict, and its forward passes per image."""

    name: str
    val: Tensor
    test: Tensor
    passes: int


def settings(options: Options) -> Params:
    """The settings of every training."""
    own = {"weights_dir": str(options.weights_dir.resolve())} if options.kind != "scratch" else {}
    return own | {
        "data": str(options.data.resolve()), "cache_dir": str(options.cache_dir.resolve()),
        "image_size": options.image_size, "max_epochs": options.epochs, "patience": options.epochs,
    }  # fmt: skip


def train(options: Options, params: Params, path: Path) -> None:
    """Train once; the epoch with the best validation accuracy is kept in ``path``."""
    import pytorch_lightning as pl

    from inat.config.trial import TrialConfig
    from inat.training.checkpoint import portable_checkpoint
    from inat.training.epoch_recorder import recorder_of
    from inat.training.fit import fit

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if recorder_of(trainer).improved:
                torch.save(portable_checkpoint(trainer), partial)

    partial = path.with_suffix(".part")
    started = time.process_time()
    row = fit(TrialConfig.from_params(settings(options) | params), [Keep()])
    partial.replace(path)
    print(f"{path.stem} val {row['best_val_acc']:.4f}, {time.process_time() - started:.1f} s of processor", flush=True)


def run_all(options: Options, seeds: Sequence[int]) -> tuple[list[Run], Tensor, Tensor]:
    """Every configuration with every seed; also the true classes of both splits."""
    runs, labels = [], dict[str, Tensor]()
    for (index, params), seed in product(enumerate(CONFIGS[options.kind][: options.configs]), seeds):
        wanted = settings(options) | params | {"seed": seed}
        name = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
        path = options.output / f"{options.kind}-{index}-{seed}-{name}.ckpt"
        if not path.exists():
            train(options, params | {"seed": seed}, path)
        found = {split: split_logits(path, split) for split in (VAL, TEST)}
        labels = {split: output.labels for split, output in found.items()}
        runs.append(Run(index, seed, path, *(found[split].logits.softmax(1) for split in (VAL, TEST))))
    return runs, labels[VAL], labels[TEST]


def soup(runs: Sequence[Run]) -> Row:
    """One network with the mean of the weights of ``runs``."""
    loaded = load_checkpoint(runs[0].checkpoint)
    states = [load_checkpoint(run.checkpoint).classifier.state_dict() for run in runs]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    loaded.classifier.load_state_dict(mean)
    model = Model(loaded, this_device())
    loaded.classifier.to(model.device, memory_format=torch.channels_last)
    estimate_norms(model)
    val, test = (probabilities(model, split) for split in (VAL, TEST))
    return Row("soup", val, test, 1)


def estimate_norms(model: Model) -> None:
    """Compute the statistics of the batch norms that have trained anew: the mean over batches of training images."""
    classifier = model.checkpoint.classifier.train()
    norms = [module for module in classifier.modules() if isinstance(module, BATCH_NORMS) and module.training]
    classifier.eval()  # dropout and frozen batch norms stay off
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    for batch in data_of(model.checkpoint).train_dataloader():
        if len(batch.images) > 1:
            model.logits(batch.images)
    classifier.eval()


def data_of(loaded: LoadedCheckpoint) -> ImageDataModule:
    """The images of a checkpoint, without augmentation."""
    return ImageDataModule(loaded.config.data.without_augmentation(), loaded.config.optim.batch_size)


def probabilities(model: Model, split: str) -> Tensor:
    """Softmax (N, classes) of a model on a split."""
    loader: Iterator[Batch] = iter(data_of(model.checkpoint).evaluation_loader(split))
    return torch.cat([model.logits(batch.images).float().softmax(1).cpu() for batch in loader])


def greedy_soup(runs: Sequence[Run], labels: Tensor) -> Row:
    """Begin with the best run; each next one stays if the soup is then not worse on the validation split."""
    in_order = sorted(runs, key=lambda run: -accuracy(run.val, labels))
    chosen, best = in_order[:1], soup(in_order[:1])
    for run in in_order[1:]:
        tried = soup([*chosen, run])
        if accuracy(tried.val, labels) >= accuracy(best.val, labels):
            chosen, best = [*chosen, run], tried
    print(f"greedy soup of {len(chosen)} seeds")
    return Row("greedy_soup", best.val, best.test, 1)


def accuracy(values: Tensor, labels: Tensor) -> float:
    """The share of the true classes that have the largest probability."""
    return objective_value(values, labels, ACCURACY)


def average(name: str, runs: Sequence[Run], weights: Sequence[float] | None = None) -> Row:
    """The mean of the probabilities of ``runs``."""
    shares = weights or [1 / len(runs)] * len(runs)
    val, test = (mean_probabilities(parts, shares) for parts in ([r.val for r in runs], [r.test for r in runs]))
    return Row(name, val, test, len({run.checkpoint for run in runs}))


def rows_of(options: Options, runs: Sequence[Run], labels: Tensor) -> Iterator[Row]:
    """Every way to predict with ``runs``, chosen by the true classes of the validation split."""
    in_order = sorted(runs, key=lambda run: -accuracy(run.val, labels))
    by_config = {index: [run for run in runs if run.config == index] for index in range(options.configs)}
    winner = max(by_config.values(), key=lambda own: fmean(accuracy(run.val, labels) for run in own))
    median = sorted(winner, key=lambda run: accuracy(run.val, labels))[(len(winner) - 1) // 2]
    yield average("model", [median])
    yield average("best", in_order[:1])
    yield average("top", in_order[: options.top])
    yield average("seeds", winner)
    yield average("all", runs)
    chosen = select_greedily([run.val for run in runs], labels, ACCURACY)
    yield average("greedy", [runs[i] for i in chosen.weights], list(chosen.weights.values()))
    picks = plain_picks(chosen.picks, [run.val for run in runs], labels)
    yield average("greedy_plain", [runs[i] for i in picks])
    yield soup(winner)
    yield greedy_soup(winner, labels)


def plain_picks(picks: Sequence[int], pool: Sequence[Tensor], labels: Tensor) -> Sequence[int]:
    """The first of the greedy ``picks``, up to the last one that improved the accuracy."""
    reached = [accuracy(torch.stack([pool[i] for i in picks[:n]]).mean(0), labels) for n in range(1, len(picks) + 1)]
    stop = next((n for n in range(1, len(picks)) if reached[n] <= reached[n - 1]), len(picks))
    return picks[:stop]


def measure(options: Options, seeds: Sequence[int]) -> dict[str, float]:
    """Train and compare one round; returns validation and test accuracy of each row, and gains over the model."""
    runs, val_labels, test_labels = run_all(options, seeds)
    print(f"\nseeds {seeds[0]} to {seeds[-1]}: {len(runs)} runs, {len(val_labels)} validation and "
          f"{len(test_labels)} test images")  # fmt: skip
    numbers = {"mean_val": fmean(accuracy(run.val, val_labels) for run in runs),
               "mean_test": fmean(accuracy(run.test, test_labels) for run in runs)}  # fmt: skip
    print(f"{'mean':12} val {numbers['mean_val']:.4f} test {numbers['mean_test']:.4f}")
    model = None
    for row in rows_of(options, runs, val_labels):
        right = (row.test.argmax(1) == test_labels).numpy()
        model = right if model is None else model  # the first row
        pairs = compare_pairs(right, model)
        scores = {"val": accuracy(row.val, val_labels), "test": accuracy(row.test, test_labels)}
        numbers |= {f"{row.name}_{split}": score for split, score in scores.items()}
        numbers[f"{row.name}_gain"] = 100 * pairs["difference"]
        print(describe(row, scores, pairs, len(test_labels)), flush=True)
    return numbers


def describe(row: Row, scores: Mapping[str, float], pairs: Mapping[str, Any], images: int) -> str:
    """One line of the table; ``pairs`` compares the row with the model on the test ``images``."""
    low, high = share_interval(scores["test"], images)
    gain, ends = 100 * pairs["difference"], [100 * end for end in pairs["difference_interval"]]
    return (
        f"{row.name:12} val {scores['val']:.4f} test {scores['test']:.4f} ({low:.3f} to {high:.3f}), {gain:+.1f} "
        f"points over the model ({ends[0]:+.1f} to {ends[1]:+.1f}, p = {pairs['p_value']:.2g}), "
        f"forward passes: {row.passes}"
    )


def main() -> None:
    """Train all rounds and print a table for each, then the result line."""
    from inat.training.fit import silence_lightning

    options = tyro.cli(Options)
    torch.set_num_threads(options.threads)
    silence_lightning()
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"{hardware()}\n{options}")
    parts: dict[str, list[float]] = {}
    for number in range(options.rounds):
        start = options.first_seed + number * options.seeds
        for name, value in measure(options, range(start, start + options.seeds)).items():
            parts.setdefault(name, []).append(value)
    print(result_line(parts))


if __name__ == "__main__":
    main()
