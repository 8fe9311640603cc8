"""A search as the documentation of Ray Tune and Lightning teaches it: the peer of benchmarks/end_to_end.py.

The tutorial pipeline (benchmarks/classic.py) with TuneReportCheckpointCallback after each validation, OptunaSearch,
ASHA, a new process per trial.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

METRIC = "val_acc"


def train(params: dict[str, Any], data: str, image_size: int, max_epochs: int) -> None:
    """Train one network, and report each validation with a checkpoint to Tune."""
    import classic
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import CSVLogger
    from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

    from inat.config.cnn import CNNConfig
    from inat.config.validation import build_part

    parts = classic.loaders(Path(data), image_size, params["batch_size"], params["use_augmentation"])
    classes = len(parts[0].dataset.dataset.classes)  # type: ignore[attr-defined]
    net = classic.network(build_part(CNNConfig, params), image_size, classes)
    report = TuneReportCheckpointCallback([METRIC, "val_loss"], on="validation_end")
    trainer = pl.Trainer(
        max_epochs=max_epochs, accelerator="auto", devices=1, logger=CSVLogger("."), callbacks=[report],
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(classic.ClassicModule(net, classes, params["learning_rate"]), *parts)


def search(
    space: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    data: Path,
    image_size: int,
    rungs: tuple[int, int, int],
    folder: Path,
) -> list[int]:
    """Train the configurations ``points``; returns the number of epochs that each trial has trained.

    ``rungs`` are the most epochs, the grace period and the reduction factor of ASHA.
    """
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    max_epochs, grace, factor = rungs
    ray.init(address="local", include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_parameters(train, data=str(data), image_size=image_size, max_epochs=max_epochs),
        param_space=dict(space),
        tune_config=tune.TuneConfig(
            metric=METRIC, mode="max", num_samples=len(points), max_concurrent_trials=os.cpu_count(),
            search_alg=OptunaSearch(points_to_evaluate=[dict(point) for point in points], seed=0),
            scheduler=ASHAScheduler(max_t=max_epochs, grace_period=grace, reduction_factor=factor),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )  # fmt: skip
    results = tuner.fit()
    ray.shutdown()
    assert not results.errors, results.errors
    assert [{name: result.config[name] for name in space} for result in results] == [dict(p) for p in points]
    return [int(result.metrics["training_iteration"]) for result in results]
