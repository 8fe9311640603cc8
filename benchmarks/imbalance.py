"""Search the same networks once by accuracy and once by balanced accuracy, on two classes of which one is rare.

    python benchmarks/imbalance.py
    python benchmarks/imbalance.py --seeds 5 --trials 12

The images are the scans of handwritten digits that come with scikit-learn, written as PNG files with noise: the class
"eight" has 1/50 of the training images of the class "other". The test split keeps all scans that are left; more than a
quarter of them are eights.

Both searches of a seed draw the same configurations at random, class weights and the balanced sampler among them, and
stop no trial early; they differ in what decides on patience and the best trial. Each line shows the two winners with
their scores on the test split.
"""

import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measure import hardware

SPACE = """
from ray import tune

def space():
    return {
        "first_layer_filters": tune.choice([4, 8, 16]), "filter_org": tune.choice([1, 2]),
        "conv_layers": tune.choice([2, 3]), "activation": tune.choice(["relu"]), "dropout": tune.choice([0.2]),
        "batch_norm": tune.choice([True, False]), "batch_size": tune.choice([32]),
        "learning_rate": tune.choice([1e-2, 3e-3, 1e-3]), "num_neurons_dense": tune.choice([32]),
        "class_weights": tune.choice(["none", "balanced", "effective"]),
        "balanced_sampler": tune.choice([True, False]),
    }
"""
METRICS = ("accuracy", "balanced_accuracy")
RARE, SIZE = 8, 16  # the rare digit; side of the images in pixels
NOISE = 5.0  # standard deviation that is added to the 16 grey levels: without it every network tells an eight


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare the winners by two metrics."""

    seeds: int = 3
    """Number of pairs of searches."""
    trials: int = 10
    """Trials per search."""
    epochs: int = 4
    ratio: int = 50
    """Training images of the frequent class per image of the rare one."""
    one_at_a_time: bool = True
    """Run one trial at a time, on one core."""


def write_photos(folder: Path, ratio: int) -> None:
    """Write train/ and test/ with the classes "other" and "eight"; 1 / ratio of the training images are eights."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    scans, random = load_digits(), np.random.default_rng(0)
    rare = [i for i, label in enumerate(scans.target) if label == RARE]
    other = [i for i, label in enumerate(scans.target) if label != RARE]
    tested = len(other) // 4  # all digits in equal parts: they come in turns
    splits = {"train": {"other": other[tested:], "eight": rare[: len(other[tested:]) // ratio]}}
    splits["test"] = {"other": other[:tested], "eight": rare[len(splits["train"]["eight"]) :]}
    for split, classes in splits.items():
        for name, rows in classes.items():
            target = folder / split / name
            target.mkdir(parents=True)
            for row in rows:
                grey = scans.images[row] + random.normal(0, NOISE, scans.images[row].shape)
                pixels = (grey.clip(0, 16) * (255 / 16)).astype("uint8")
                Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.NEAREST).save(target / f"{row:04d}.png")


def winner(photos: Path, folder: Path, metric: str, seed: int, options: Options) -> dict[str, Any]:
    """The best trial of one search by ``metric``, with its scores on the test split."""
    from inat.config.search import SearchConfig
    from inat.tuning import search
    from inat.tuning.best import evaluate_best_on_test, write_best

    config = SearchConfig(
        data=str(photos), image_size=SIZE, space=str(folder / "space.py"), searcher="random", metric=metric,  # type: ignore[arg-type]
        num_samples=options.trials, max_epochs=options.epochs, patience=options.epochs, grace_period=options.epochs,
        seed=seed, cache_dir=folder / "cache", storage_path=folder, name=f"{metric}-{seed}",
        max_concurrent=1 if options.one_at_a_time else None, precision="32-true",
    )  # fmt: skip
    study, space = search.open_study(config)
    try:
        search.run(config, study, space)
        best = write_best(study)
        scores = evaluate_best_on_test(study, config.data_config())
    finally:
        study.close()
    if best is None or scores is None:
        sys.exit(f"no trial of {study.directory} has a result")
    return {"trial": best.trial_id, "name": best.name, "value": best.trial.best_value, **scores}


def main() -> None:
    """Run the searches, print both winners of each seed, then the result line."""
    options = tyro.cli(Options)
    print(f"{hardware()}\n{options}")
    folder = Path(tempfile.mkdtemp(prefix="imbalance-"))
    try:
        (folder / "space.py").write_text(SPACE)
        write_photos(folder / "photos", options.ratio)
        pairs = [
            {metric: winner(folder / "photos", folder, metric, seed, options) for metric in METRICS}
            for seed in range(options.seeds)
        ]
    finally:
        shutil.rmtree(folder)
    for seed, pair in enumerate(pairs):
        for metric, found in pair.items():
            print(
                f"seed {seed}  by {metric:<17} {found['trial']} ({found['value']:.4f})  test accuracy "
                f"{found['test_acc']:.4f}, balanced {found['test_balanced_acc']:.4f}, macro F1 "
                f"{found['test_macro_f1']:.4f}  {found['name']}",
                flush=True,
            )
    differ = sum(pair[METRICS[0]]["trial"] != pair[METRICS[1]]["trial"] for pair in pairs)
    means = {
        f"{metric} {column}": statistics.fmean(pair[metric][f"test_{column}"] for pair in pairs)
        for metric in METRICS
        for column in ("acc", "balanced_acc", "macro_f1")
    }
    print(f"a constant answer has a test accuracy of {pairs[0][METRICS[0]]['constant_accuracy']:.4f}")
    columns = {"acc": "accuracy", "balanced_acc": "balanced accuracy", "macro_f1": "macro F1"}
    scores = [
        f"{label} {means[f'accuracy {column}']:.4f} and {means[f'balanced_accuracy {column}']:.4f}"
        for column, label in columns.items()
    ]
    print(
        f"result: another winner in {differ} of {len(pairs)} seeds; mean on the test split of the winners by accuracy "
        f"and by balanced accuracy: {', '.join(scores)}"
    )


if __name__ == "__main__":
    main()
