"""The spaces that benchmarks/search_quality.py searches: each has a learning curve for every configuration.

digits     648 convolutional networks on the digits (record_curves.py), 27 epochs
boosting   360 settings of gradient boosting on breast cancer (record_tables.py), 27 checkpoints of 5 trees
mlp        216 multilayer perceptrons on the digits (record_tables.py), 27 epochs
hartmann   six numbers in [0, 1], 27 epochs, in closed form
perceptron seven numbers of a perceptron on 300 digits, 27 epochs, trained when asked for (live_perceptron.py)
nasbench   15,625 cells of NAS-Bench-201 on CIFAR-10 (record_tables.py); only final values, so no early stopping

"hartmann" is the function of Hartmann with six arguments, divided by its optimum. Its weights alpha are smaller before
the last epoch, by a bias that falls with the logarithm of the epoch, as in mf-prior-bench (Kandasamy et al. 2017,
arXiv:1703.06240, have it fall with the fidelity itself); as there, noise that falls likewise is subtracted. The noise
of a configuration at an epoch is always the same.
"""

import csv
import gzip
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import live_perceptron
import numpy as np
import record_curves
import record_tables
from numpy.typing import NDArray

Array = NDArray[np.float64]
Curves = dict[tuple[str, ...], Array]
Name = Literal["digits", "boosting", "mlp", "hartmann", "perceptron", "nasbench"]
NAMES: tuple[Name, ...] = ("digits", "boosting", "mlp", "hartmann", "perceptron", "nasbench")

HARTMANN_EPOCHS = 27
HARTMANN_BIAS = 1.0  # by which each weight is smaller at epoch 1
HARTMANN_NOISE = 0.5  # deviation at epoch 1; the optimum is 3.32237
HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
                       [17, 8, 0.05, 10, 0.1, 14]])  # fmt: skip
HARTMANN_P = 1e-4 * np.array([[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                              [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]])  # fmt: skip
HARTMANN_BEST = 3.32237


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A space with known learning curves.

    ``space`` has Ray Tune's domains. ``curve`` gives the best value up to each of the ``epochs`` epochs; ``best`` is
    the highest value of all configurations at the end, or 1 where it is not known. ``trainings``: the three budgets, in
    complete trainings.
    """

    name: Name
    space: dict[str, Any]
    epochs: int
    curve: Callable[[Mapping[str, Any]], Array]
    best: float
    trainings: tuple[int, int, int] = (5, 10, 30)

    @property
    def budgets(self) -> tuple[int, ...]:
        """The three budgets in epochs."""
        return tuple(self.epochs * count for count in self.trainings)

    @property
    def has_rungs(self) -> bool:
        """Whether trials can be stopped early."""
        return self.epochs > 1


@cache
def load(name: Name) -> Benchmark:
    """The benchmark ``name``."""
    from ray import tune

    if name == "hartmann":
        numbers = {f"x{i}": tune.uniform(0.0, 1.0) for i in range(6)}
        return Benchmark(name=name, space=numbers, epochs=HARTMANN_EPOCHS, curve=hartmann_curve, best=1.0)
    if name == "perceptron":
        ranges = {"dropout": tune.uniform(0.0, 0.8), "label_smoothing": tune.uniform(0.0, 0.5)}
        ranges |= {key: tune.loguniform(*values) for key, values in live_perceptron.LOG_RANGES.items()}
        curve, epochs = live_perceptron.curve, live_perceptron.EPOCHS
        return Benchmark(name=name, space=ranges, epochs=epochs, curve=curve, best=1.0)  # the best one is not known
    space = record_curves.SPACE if name == "digits" else record_tables.SPACES[name]
    curves = load_curves(name)
    table = np.stack(list(curves.values()))
    return Benchmark(
        name=name,
        space={key: tune.choice(values) for key, values in space.items()},
        epochs=table.shape[1],
        curve=lambda params: curves[key_of(params, space)],
        best=float(table[:, -1].max()),
        trainings=(20, 40, 120) if name == "nasbench" else (5, 10, 30),
    )


def load_curves(name: Name = "digits") -> Curves:
    """Best value up to each epoch, by hyperparameters as text; after a divergence it stays constant."""
    if name == "hartmann" or name == "perceptron":
        sys.exit(f"{name} has no recorded curves; choose another space")
    if name == "digits":
        space, text = record_curves.SPACE, record_curves.CURVES.read_text()
    else:
        space = record_tables.SPACES[name]
        text = gzip.decompress(record_tables.FILES[name].read_bytes()).decode()
    header, *rows = csv.reader(text.splitlines())
    curves = {}
    for row in rows:
        values = [float(value) for value in row[len(space) :]]
        best = np.maximum.accumulate(np.array(values or [0.0]))
        curves[tuple(row[: len(space)])] = np.pad(best, (0, len(header) - len(space) - len(best)), mode="edge")
    wanted = len(list(record_tables.settings(space)))
    if len(curves) < wanted:
        sys.exit(f"{name} has {len(curves)} of {wanted} curves; run benchmarks/record_curves.py or record_tables.py")
    return curves


def key_of(params: Mapping[str, Any], space: Mapping[str, Any] = record_curves.SPACE) -> tuple[str, ...]:
    """The key of these hyperparameters in the curves."""
    return tuple(str(params[name]) for name in space)


def hartmann_curve(params: Mapping[str, Any]) -> Array:
    """Best value up to each epoch of the Hartmann function with six arguments, as a share of its optimum."""
    x = np.array([float(params[f"x{i}"]) for i in range(6)])
    parts = np.exp(-(HARTMANN_A * (x - HARTMANN_P) ** 2).sum(1))
    missing = 1 - np.log(np.arange(1, HARTMANN_EPOCHS + 1)) / np.log(HARTMANN_EPOCHS)
    seed = int.from_bytes(hashlib.blake2b(x.tobytes(), digest_size=8).digest(), "big")
    noise = np.abs(np.random.default_rng(seed).normal(0, HARTMANN_NOISE, HARTMANN_EPOCHS))
    values = ((HARTMANN_ALPHA - HARTMANN_BIAS * missing[:, None]) * parts).sum(1) - noise * missing
    return np.maximum.accumulate(np.maximum(values / HARTMANN_BEST, 0.0))
