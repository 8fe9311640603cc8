"""How good the first trials of `--space modern` are, near the recipe and at random.

    python benchmarks/first_trials.py --data PHOTOS --image-size 64 --keep first_trials.jsonl

Trains --count configurations of each of two kinds: "near" keep all hyperparameters of the recipe but two, which are
drawn at random, as a search begins; "random" draws all of them. Beside them, it trains the recipe with as many seeds.
Says, at the rung and at the end of the training, how good each kind is on average and at best, and how many of its
configurations are better than the mean of the recipe. The interval of the difference of the means is Welch's. The
test split is not looked at. Each training runs in a fresh process; with --keep FILE, finished trainings are kept in
FILE, and the same command continues an interrupted benchmark.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from kept_rows import KeptRows
from measure import hardware, measured
from one_training import train, used_threads
from recipe_here import Images, recipe_params

from inat.constants import CACHE_DIR

KINDS = ("near", "random", "recipe")
Params = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare configurations near the recipe with random ones."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    image_size: int = 64
    epochs: int = 12
    rung: int = 3
    """Epochs after which a search would compare them first."""
    photos: int = 0
    """Train on N of the training photos only, including those that validate. 0: on all."""
    count: int = 12
    """Configurations of each kind, and seeds of the recipe."""
    draw_seed: int = 0
    threads: int = 1
    cache_dir: Path = CACHE_DIR
    keep: Path | None = None
    """JSON lines file of finished trainings, which are not repeated."""
    only: str | None = None
    """Run one training, given as a JSON object of hyperparameters, and print its numbers."""


def main() -> None:
    """Run the trainings that --keep lacks, then print the table and the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(train(json.loads(options.only), options.threads)))
        return
    print(f"{hardware()}, {used_threads(options.threads)}\n{options}")
    kept, source = KeptRows(options.keep), options.data.resolve()
    with tempfile.TemporaryDirectory() as folder:
        images = Images(options.data, options.image_size, options.cache_dir).part(options.photos, Path(folder))
        used = replace(options, data=images.data, cache_dir=images.cache_dir)
        drawn = draw(used, images)
        curves: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
        for number in range(options.count):
            for kind in KINDS:
                case = {"data": str(source), "photos": options.photos, "image_size": options.image_size,
                        "epochs": options.epochs, "seed": number + 1, "params": drawn[kind][number]}  # fmt: skip
                row = kept.get_or_run(case, lambda case=case: _train(used, images, case))  # type: ignore[misc]
                curves[kind].append(row["curve"])
                print(f"{kind} {number}: {row['val']:.4f} in {row['cpu']:.0f} processor seconds", flush=True)
    print_table(options, curves)


def draw(options: Options, images: Images) -> dict[str, list[Params]]:
    """The configurations of each kind."""
    import optuna

    from inat.config.search import SearchConfig
    from inat.config.trial import active_params
    from inat.tuning.space.domains import optuna_space
    from inat.tuning.space.neighbours import neighbours
    from inat.tuning.space.presets import space_of

    recipe = recipe_params(images, options.epochs)
    config = SearchConfig(data=str(options.data), image_size=options.image_size, cache_dir=options.cache_dir,
                          space="modern", max_epochs=options.epochs)  # fmt: skip
    space = space_of(config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=options.draw_seed))

    def completed(fixed: Params) -> Params:
        study.enqueue_trial(dict(fixed))
        return active_params(study.ask(optuna_space(space)).params)

    near = [completed(fixed) for fixed in neighbours(recipe, space, options.count, options.draw_seed)]
    return {"near": near, "random": [completed({}) for _ in near], "recipe": [recipe] * len(near)}


def _train(options: Options, images: Images, case: Mapping[str, Any]) -> dict[str, Any]:
    given = {"seed": case["seed"], "max_epochs": options.epochs, "patience": options.epochs}
    only = json.dumps({**images.settings, **case["params"], **given})
    return measured(__file__, options, only=only, keep=None)


def print_table(options: Options, curves: Mapping[str, list[list[float]]]) -> None:
    """Print mean and best of each kind, then the result line."""
    fields: list[str] = []
    for moment, epochs in (("rung", options.rung), ("end", options.epochs)):
        values = {kind: np.array([max(curve[:epochs]) for curve in found]) for kind, found in curves.items()}
        recipe = values["recipe"].mean()
        for kind, found in values.items():
            above = int((found > recipe).sum())
            print(f"after epoch {epochs:2} {kind:6}: mean {found.mean():.4f}, best {found.max():.4f}, "
                  f"{above} of {len(found)} above the mean of the recipe")  # fmt: skip
            fields += [f"{kind}_{moment}={found.mean():.4f}", f"{kind}_{moment}_best={found.max():.4f}",
                       f"{kind}_{moment}_above={above}"]  # fmt: skip
        low, high = difference(values["near"], values["random"])
        gain = 100 * (values["near"].mean() - values["random"].mean())
        print(f"after epoch {epochs:2} near - random: {gain:+.1f} points ({low:+.1f} to {high:+.1f})")
        fields += [f"gain_{moment}={gain:+.2f}", f"gain_{moment}_low={low:+.2f}", f"gain_{moment}_high={high:+.2f}"]
    print("result:", *fields)


def difference(left: Any, right: Any) -> tuple[float, float]:
    """Welch's 95 % interval of the difference of two means, in points."""
    from scipy import stats

    interval = stats.ttest_ind(100 * left, 100 * right, equal_var=False).confidence_interval()
    return float(interval.low), float(interval.high)


if __name__ == "__main__":
    main()
