"""Record the learning curve of every configuration of a small space, which benchmarks/search_quality.py replays.

    python benchmarks/record_curves.py              # adds missing curves to benchmarks/data/digits16_curves.csv

All 648 networks of the space below are trained on the built-in digits at 16 px, for 27 epochs without early stopping,
with batches of 64, dropout 0.2 and no augmentation: one process per core, one thread per process. The file has one row
per network: its hyperparameters, then the validation accuracy of each epoch.
"""

import csv
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.progress import track

CURVES = Path(__file__).parent / "data" / "digits16_curves.csv"
EPOCHS = 27
SPACE: dict[str, list[Any]] = {
    "first_layer_filters": [8, 16, 32],
    "filter_org": [0.5, 1, 2],
    "conv_layers": [2, 3, 4],
    "activation": ["relu", "gelu", "silu", "mish"],
    "batch_norm": [True, False],
    "learning_rate": [1e-2, 1e-3, 1e-4],
}
FIXED = {"data": "digits", "image_size": 16, "dropout": 0.2, "batch_size": 64, "num_neurons_dense": 64,
         "use_augmentation": False, "max_epochs": EPOCHS, "patience": EPOCHS}  # fmt: skip


def configurations() -> Iterator[dict[str, Any]]:
    """All configurations of the space."""
    return (dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values()))


def train(params: dict[str, Any]) -> list[float]:
    """Train once; returns the validation accuracy per epoch, fewer than EPOCHS values if the training diverged."""
    import pytorch_lightning as pl
    import torch

    from inat.config.trial import TrialConfig
    from inat.constants import VAL_ACC
    from inat.training.epoch_recorder import recorder_of
    from inat.training.fit import fit

    class Curve(pl.Callback):
        def __init__(self) -> None:
            self.values: list[float] = []

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.values.append(recorder_of(trainer).row[VAL_ACC])

    torch.set_num_threads(1)
    curve = Curve()
    fit(TrialConfig.from_params(FIXED | params), [curve])
    return curve.values


def recorded() -> set[tuple[str, ...]]:
    """Hyperparameters, as text, of the rows in the file."""
    if not CURVES.exists():
        return set()
    with CURVES.open(newline="") as file:
        return {tuple(row[: len(SPACE)]) for row in csv.reader(file)}


def main() -> None:
    """Train the missing networks and append their rows."""
    existing = recorded()
    CURVES.parent.mkdir(exist_ok=True)
    missing = [params for params in configurations() if tuple(map(str, params.values())) not in existing]
    with CURVES.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not existing:
            writer.writerow([*SPACE, *range(1, EPOCHS + 1)])
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            running = {pool.submit(train, params): params for params in missing}
            for done in track(as_completed(running), "training", len(missing)):
                writer.writerow([*running[done].values(), *(f"{value:.4f}" for value in done.result())])
                file.flush()


if __name__ == "__main__":
    main()
