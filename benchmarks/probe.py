"""Compare the exact linear probe with heads trained by Adam or SGD, on the same kept features.

    python benchmarks/probe.py --data PHOTOS --weights-dir FOLDER_WITH_mobilenet_v2.pth

Features are computed before the clock starts. "probe" is the whole of ``fit_probe``: choosing the penalty and solving.
"ADAM" and "SGD" train the head of freeze_all for --epochs epochs with batches of 64; each has the best validation
accuracy of its learning rates, and the seconds of all of them. The result is the CPU time of one thread, which hardly
depends on what else the machine does.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional

from inat.config.finetune import FinetuneConfig
from inat.models.frozen_features import open_features, plan_features
from inat.models.probe import PENALTIES, fit_probe
from inat.tuning.racing.probes import probe_config, vectors_of

RATES = {"adam": (1e-3, 3e-3, 1e-2), "sgd": (1e-2, 1e-1, 1.0)}
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure solver and trained heads."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    weights_dir: Path
    """Folder with mobilenet_v2.pth."""
    image_size: int = 64
    epochs: int = 10
    seeds: int = 3
    cache_dir: Path = Path("cache")


def main(options: Options) -> None:
    """Print one line per way to get a head."""
    torch.set_num_threads(1)
    config = FinetuneConfig(
        data=str(options.data), image_size=options.image_size, backbones=("mobilenet_v2",), precision="32-true",
        weights_dir=options.weights_dir, cache_dir=options.cache_dir,
    )  # fmt: skip
    plan = plan_features(probe_config(config, "mobilenet_v2"))
    assert plan is not None
    (train, labels), (val, truth) = (vectors_of(part) for part in open_features(plan))
    classes = int(labels.max()) + 1
    started = time.process_time()
    probe = fit_probe(train, labels, classes)
    seconds = time.process_time() - started
    print(f"{len(train)} training and {len(val)} validation images, {train.shape[1]} features, {classes} classes")
    print(f"probe: accuracy={accuracy(probe(val), truth):.4f} seconds={seconds:.1f} penalty={probe.penalty:g}")
    for name, rates in RATES.items():
        started = time.process_time()
        found = {
            rate: [
                trained_head(name, rate, seed, options.epochs, (train, labels), (val, truth), classes)
                for seed in range(options.seeds)
            ]
            for rate in rates
        }
        seconds = (time.process_time() - started) / options.seeds
        best = max(found, key=lambda rate: sum(found[rate]))
        values = " ".join(f"{value:.4f}" for value in found[best])
        mean = sum(found[best]) / options.seeds
        print(f"{name}: accuracy={mean:.4f} ({values}) seconds={seconds:.1f} rate={best:g} of {len(rates)}")
    print(f"penalties={len(PENALTIES)} epochs={options.epochs} seeds={options.seeds} threads=1")


def trained_head(
    name: str,
    rate: float,
    seed: int,
    epochs: int,
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    classes: int,
) -> float:
    """Best validation accuracy over the epochs of a head trained on features as they are."""
    torch.manual_seed(seed)
    head = nn.Linear(train[0].shape[1], classes)
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(head.parameters(), rate) if name == "adam" else torch.optim.SGD(head.parameters(), rate, 0.9)
    )
    best = 0.0
    for _ in range(epochs):
        for rows in torch.randperm(len(train[0])).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(head(train[0][rows]), train[1][rows]).backward()
            optimizer.step()
        with torch.no_grad():
            best = max(best, accuracy(head(val[0]), val[1]))
    return best


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of correct images."""
    return float((logits.argmax(1) == labels).float().mean())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
