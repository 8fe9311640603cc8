"""Time a fine-tuning grid whose frozen layers run once against the same grid that runs them in every epoch.

    python benchmarks/finetune.py --data PHOTOS --weights-dir FOLDER_WITH_mobilenet_v2.pth

The grid has 12 trials of 10 epochs, for freeze_all and for freeze_partial with k_layers=2; no trial stops early. The
sides alternate, each in a fresh process; the unit is seconds:
"inat" is the whole search from an empty cache: decoding, the outputs of the frozen stages, the start of Ray, 12
trainings.
"classic" is the tutorial pipeline (benchmarks/classic.py: ImageFolder, 2 loading processes, float32, all cores): the
second of two epochs times the grid's 120 epochs, without the start of its process.
"views0" is inat's training without stored features (--views 0), one trial per core: the second of two epochs times 120,
divided by the number of cores.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from measure import alternate, hardware, print_report, ratios

Kind = Literal["inat", "classic", "views0"]
RATES = (3e-4, 1e-3, 3e-3)
BATCHES = (32, 64)
TRIALS, EPOCHS = 12, 10  # 3 rates x 2 batch sizes x augmentation off and on


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the grids side by side."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    weights_dir: Path
    """Folder with mobilenet_v2.pth."""
    image_size: int = 128
    rounds: int = 3
    k_layers: int = 0
    """With --only: 0 for freeze_all, otherwise freeze_partial."""
    only: Kind | None = None
    """Run one measurement and print it as JSON."""

    @property
    def strategy(self) -> str:
        """The freezing strategy of a measurement."""
        return "freeze_partial" if self.k_layers else "freeze_all"


def inat_search(options: Options) -> dict[str, float]:
    """Seconds of the whole search from an empty cache, and the best validation accuracy."""
    from inat.config.finetune import FinetuneConfig
    from inat.tuning import search

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        config = FinetuneConfig(
            data=str(options.data.resolve()), backbones=("mobilenet_v2",), strategies=(options.strategy,),
            k_layers=(options.k_layers,) if options.k_layers else (1,), learning_rates=RATES, batch_sizes=BATCHES,
            weights_dir=options.weights_dir, image_size=options.image_size, max_epochs=EPOCHS, patience=EPOCHS,
            grace_period=EPOCHS, cache_dir=Path(folder) / "cache", storage_path=Path(folder), name="study",
            grid="published",
        )  # fmt: skip
        study, space = search.open_study(config)
        search.run(config, study, space)
        study.close()
        best = study.best()
    assert best is not None
    assert [trial.epochs for trial in study.ended()] == [EPOCHS] * TRIALS
    return {"inat": time.monotonic() - started, "best_val_acc": float(best.best_value or 0)}


def trial_config(options: Options, cache: str) -> Any:
    """One trial of the grid for two epochs, without stored features."""
    from inat.config.trial import TrialConfig
    from inat.tuning.rules import FEATURE_RULES, new_rules

    return TrialConfig.from_params({
        "backbone": "mobilenet_v2", "strategy": options.strategy, "k_layers": options.k_layers or None, "views": 0,
        "weights_dir": str(options.weights_dir), "data": str(options.data.resolve()), "cache_dir": cache,
        "image_size": options.image_size, "learning_rate": 1e-3, "batch_size": 64, "max_epochs": 2,
        FEATURE_RULES: new_rules()[FEATURE_RULES],
    })  # fmt: skip


def classic_grid(options: Options) -> dict[str, float]:
    """Seconds of the grid in the tutorial pipeline, on all cores, one trial after the other."""
    import classic as pipeline

    from inat.models.factory import build_network

    with tempfile.TemporaryDirectory() as folder:
        config = trial_config(options, folder)
        seconds = []
        for augment in (False, True):  # each is half of the grid
            parts = pipeline.loaders(options.data, options.image_size, config.optim.batch_size, augment)
            classes = len(parts[0].dataset.dataset.classes)  # type: ignore[attr-defined]
            net = build_network(config, classes)
            seconds += pipeline.train(net, classes, 1e-3, parts, config.max_epochs, folder)
    return {"classic": statistics.mean(seconds) * TRIALS * EPOCHS}


def grid_without_features(options: Options) -> dict[str, float]:
    """Seconds of the grid in inat's training without stored features, one trial per core."""
    import torch
    from classic import EpochClock

    from inat.training.fit import fit

    torch.set_num_threads(1)
    clock = EpochClock()
    with tempfile.TemporaryDirectory() as cache:
        fit(trial_config(options, cache), [clock])
    return {"views0": statistics.mean(clock.seconds) * TRIALS * EPOCHS / (os.cpu_count() or 1)}


MEASUREMENTS: dict[Kind, Callable[[Options], dict[str, float]]] = {
    "inat": inat_search,
    "classic": classic_grid,
    "views0": grid_without_features,
}


def main() -> None:
    """Alternate the kinds for both strategies, print a table, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        print(json.dumps(MEASUREMENTS[options.only](options)))
        return
    print(f"{hardware()}\n{options}")
    variants = [
        (suffix, {"only": kind, "k_layers": k_layers, "weights_dir": options.weights_dir.resolve()})
        for suffix, k_layers in (("", 0), ("_partial", 2))
        for kind in MEASUREMENTS
    ]
    parts = alternate(__file__, options, options.rounds, variants)
    for suffix in ("", "_partial"):
        for name, kind in (("ratio", "classic"), ("ratio_views0", "views0")):
            parts[f"{name}{suffix}"] = ratios(parts[f"{kind}{suffix}"], parts[f"inat{suffix}"])
    print_report(parts)


if __name__ == "__main__":
    main()
