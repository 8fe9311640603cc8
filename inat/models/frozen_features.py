"""Features of images: the outputs of a backbone's frozen stages, computed once per node and kept as memory maps.

The name of a directory of features contains a hash of everything that decides their values: the fingerprint of the
images, the rows of the split, the image size, the view, the weights, the number of frozen stages, the precision, the
kind of device and the versions of the libraries. A view is one augmented copy of every training image. With folds, all
of them share the features of the training and validation images together.
"""

import gc
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from rich.filesize import decimal
from torch import Tensor

from inat.config.backbones import BackboneConfig
from inat.config.own_model import OwnModelConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.timm_names import is_timm
from inat.config.trial import Precision, TrialConfig
from inat.constants import TRAIN, VAL
from inat.data.datamodule import Features, channels_last, network_input
from inat.data.feature_store import FeatureStore, build_missing, open_store, write_store
from inat.data.loader import Batch, SplitDataset, batch_loader
from inat.data.splits import Split, Splits, load_splits
from inat.device import free_cached, this_device
from inat.errors import DataError
from inat.models.factory import load_pretrained
from inat.models.feature_batches import as_numpy, as_stored, check_finite, moved_to, seeded, with_heartbeat
from inat.models.feature_layout import SMALLER, FeaturePart, FeaturePlan, smaller_forms, why_not_kept
from inat.models.stages import StagedNetwork
from inat.training.memory import is_out_of_memory, keep_freed_memory
from inat.training.precision import autocast, resolve_precision

FORMAT = 1  # increase it when the code computes other features from the same inputs
BATCH_SIZE = 64  # images per forward pass through the frozen stages; fewer if the device has too little memory
ALL_FOLDS = "all"  # in the name of a directory: of the training and validation images of every fold
VIEW_SEED = 20_000  # view v is drawn from the seed VIEW_SEED + v, for every trial of every study


def plan_features(config: TrialConfig) -> FeaturePlan | None:
    """The features that a trial needs; None if no stage is frozen, or if ``config`` rules features out."""
    model, splits = config.model, load_splits(config.data)
    if isinstance(model, ScratchNetwork) or not model.strategy or not model.views or why_not_kept(config):
        return None
    network = load_pretrained(model, config.data.image_size, len(splits.classes))
    if not network.frozen:
        return None
    size, dtype, axes = _features_of_one_image(model, config.data.image_size, len(splits.classes), config.precision)
    if config.optim.mixup_alpha and axes > 1:  # mixed features are mixed logits only where one linear layer follows
        return None
    views = model.views if config.data.use_augmentation else 1
    parts = tuple(_parts(config, splits, network, views))
    return FeaturePlan(config, network, parts, size, dtype, dtype, views)


def smaller_plans(plan: FeaturePlan) -> Iterator[FeaturePlan]:
    """``plan``, then plans of smaller features: in 16 bit, then also in fewer views."""
    yield plan
    model, splits = plan.config.model, load_splits(plan.config.data)
    assert not isinstance(model, ScratchNetwork)
    if model.feature_rules < SMALLER:
        return
    size = getattr(torch, plan.computed).itemsize
    for views, dtype in islice(smaller_forms(plan.views, plan.computed), 1, None):
        parts = tuple(_parts(plan.config, splits, plan.network, views, dtype if dtype != plan.computed else ""))
        smaller = plan.image_bytes * getattr(torch, dtype).itemsize // size
        yield replace(plan, parts=parts, image_bytes=smaller, dtype=dtype, views=views)


def _parts(
    config: TrialConfig, splits: Splits, network: StagedNetwork, count: int, stored_as: str = ""
) -> Iterator[FeaturePart]:
    views: Sequence[int | None] = range(count) if config.data.use_augmentation else [None]
    plain = replace(splits.train, crops=None)
    parts = [(TRAIN, plain if view is None else splits.train, view) for view in views] + [(VAL, splits.val, None)]
    for name, split, view in parts:
        stored = _with_all_rows(split, splits) if config.data.folds else split
        kind = name if stored is split else ALL_FOLDS
        kind = kind if view is None else f"{kind}-view{view}"
        digest = _digest(config, splits.state, network, stored, view, stored_as)
        model = network.name.replace(":", "-")  # no colons in the names of files
        directory = f"features-{model}-{kind}-{digest}-{config.data.image_size}px"
        yield FeaturePart(name, split, stored, view, Path(config.data.cache_dir) / directory)


def _with_all_rows(split: Split, splits: Splits) -> Split:
    return replace(split, rows=np.sort(np.concatenate([splits.train.rows, splits.val.rows])))


def _digest(
    config: TrialConfig, state: str, network: StagedNetwork, split: Split, view: int | None, stored_as: str
) -> str:
    augmentation = None if view is None else [VIEW_SEED + view, config.data.crop_size, *config.data.augmentation_key()]
    decided_by = [
        FORMAT, state, hashlib.sha256(split.rows.tobytes()).hexdigest(), config.data.image_size, augmentation,
        network.name, network.weights, network.frozen, resolve_precision(config.precision), this_device().type,
        torch.__version__, torchvision.__version__, *config.data.form_key(),
        *([version("timm")] if is_timm(network.name) else []),
        *([stored_as] if stored_as else []),  # nothing for features as they were computed: earlier ones stay valid
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _features_of_one_image(
    model: BackboneConfig | OwnModelConfig, side: int, num_classes: int, precision: Precision
) -> tuple[int, str, int]:
    """Bytes of the features of one image, torch's name of their type, and the number of their axes."""
    prefix = load_pretrained(model, side, num_classes).prefix()
    features = _run_frozen_stages(prefix, torch.zeros(1, 3, side, side), precision)
    return features.nbytes, str(features.dtype).removeprefix("torch."), features[0].ndim


def open_features(plan: FeaturePlan, heartbeat: Callable[[], None] = lambda: None) -> tuple[Features, Features]:
    """Open training and validation features; one process computes missing ones while the others wait.

    ``heartbeat`` is called for each computed batch, and about once per second of waiting.
    """
    parts = {part.directory: part for part in plan.parts}
    if plan.missing_bytes:
        print(_announcement(plan), file=sys.stderr, flush=True)
    opened = build_missing(parts, lambda directory: _compute(plan, parts[directory], heartbeat), heartbeat)
    stores = dict(zip(parts, _open_all(tuple(parts)), strict=True))
    del opened  # their leases have kept the stores in place until now
    *train, val = plan.parts
    return _features_of(train, stores, plan.computed), _features_of([val], stores, plan.computed)


def release_features() -> None:
    """Let go of the features that this process has read last, so that they may be removed."""
    _open_all.cache_clear()
    # The network and the loaders of the last trial refer to each other. Not collect_garbage(), which may freeze objects
    # of this trial that later form such cycles, too.
    gc.collect()


def _features_of(views: Sequence[FeaturePart], stores: Mapping[Path, FeatureStore], computed: str) -> Features:
    split, rows = views[0].split, views[0].features_rows
    return Features([stores[part.directory] for part in views], split.labels[split.rows], rows, computed)


def _announcement(plan: FeaturePlan) -> str:
    copies = f" ({plan.views} augmented copies of each training photo)" if plan.views > 1 else ""
    return (
        f"pushing {plan.missing_bytes // plan.image_bytes:,} photos{copies} once through {plan.network.frozen} frozen "
        f"stages of {plan.network.name}: {decimal(plan.missing_bytes)} in {plan.directory}"
    )


# The next trial of this process gets the same arrays, so it finds their copies on the GPU.
@lru_cache(maxsize=1)
def _open_all(directories: tuple[Path, ...]) -> tuple[FeatureStore, ...]:
    stores = tuple(store for directory in directories if (store := open_store(directory)) is not None)
    if len(stores) < len(directories):
        raise DataError(f"features in {directories[0].parent} were removed while they were opened; start again")
    return stores


def _compute(plan: FeaturePlan, part: FeaturePart, heartbeat: Callable[[], None]) -> None:
    keep_freed_memory()  # needed if no training came before: without it the stages take twice as long
    device, seed = this_device(), None if part.view is None else VIEW_SEED + part.view
    with moved_to(device, plan.network.prefix()) as prefix, seeded(seed, device):
        batches = _feature_batches(plan, prefix, part.stored, device)
        watched = with_heartbeat(batches, heartbeat, len(part.stored))
        write_store(part.directory, watched, len(part.stored), _manifest(plan, part))


def _manifest(plan: FeaturePlan, part: FeaturePart) -> dict[str, Any]:
    """Facts for inat.data.cache, and the type of the numbers."""
    data, network = plan.config.data, plan.network
    view = "" if part.view is None else f", view {part.view}"
    return {
        "features": f"{network.frozen} of {len(network)} stages of {network.name}, {part.name}{view}",
        "dtype": plan.dtype, "size": data.image_size, "photos": len(part.stored), "skipped": 0,
        "state": load_splits(data).state, "folder": load_splits(data).folder,
    }  # fmt: skip


def _feature_batches(
    plan: FeaturePlan, prefix: StagedNetwork, split: Split, device: torch.device
) -> Iterator[NDArray[Any]]:
    """The features of a split, batch by batch; batches are halved when the device has too little memory."""
    most = BATCH_SIZE
    for images in _image_batches(plan.config, split, device):
        done = 0
        while done < len(images):
            part, features = images[done : done + most], None
            try:
                features = _run_frozen_stages(prefix, part, plan.config.precision)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
            if features is None:  # outside the handler, as its traceback holds the tensors of the failed pass
                free_cached(device)
                most = (len(part) + 1) // 2
                continue
            check_finite(features, plan.network.name, plan.config.precision)
            done += len(features)
            yield as_numpy(as_stored(channels_last(features), plan.dtype))


def _image_batches(config: TrialConfig, split: Split, device: torch.device) -> Iterator[Tensor]:
    # The images stay in the memory of the node, as the training will not need them on the GPU.
    dataset = SplitDataset(split, torch.device("cpu"))
    for batch in batch_loader(dataset, BATCH_SIZE, device):
        sent = Batch(*(None if part is None else part.to(device, non_blocking=True) for part in batch))  # type: ignore[arg-type]
        yield network_input(sent, config.data)


def _run_frozen_stages(prefix: StagedNetwork, images: Tensor, precision: Precision) -> Tensor:
    with torch.no_grad(), autocast(precision, images.device.type):
        features: Tensor = prefix(images.contiguous(memory_format=torch.channels_last))
    return features
