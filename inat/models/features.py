"""What the frozen stages of a backbone make of the photographs: computed once a machine, kept as memory maps.

One directory for each split and view, published whole: ``features.npy`` (N, ...) with channels last, in the type the
stages compute, and ``manifest.json``. Its name holds a hash of all that decides over the values: the photographs, the
weights, the split point, the image size, the arithmetic and the view. Several trials that need the same ones share the
work: each takes what no other has begun.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from inat.arithmetic import autocast, resolve_precision
from inat.config import BackboneConfig, Precision, TrialConfig
from inat.constants import FEATURES_NPY, MANIFEST_JSON, TRAIN, VAL
from inat.data.build import BUILDING
from inat.data.datamodule import ImageDataModule
from inat.data.disk import check_space
from inat.data.featuremodule import Features, channels_last
from inat.data.loader import Batch, make_loader
from inat.data.splits import SPLIT_SEED, Split, Splits, inspect_data, load_splits
from inat.models.backbones import frozen_stages
from inat.models.build import build_parts, weights_of
from inat.models.stages import StagedNetwork

FORMAT = 1  # counts up when the same name would stand for other values
BATCH = 64  # photographs that go through the frozen stages at a time
VIEW_SEED = 20_000  # view v is drawn from VIEW_SEED + v, for every trial of every study


@dataclass(frozen=True, slots=True)
class Part:
    """The features of one split in one view; None is the photographs as they are."""

    split: str
    view: int | None
    directory: Path


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the features of one trial: ``shape`` and ``dtype`` of one photograph's, ``bytes`` of all together."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int


def parts_of(config: TrialConfig) -> list[Part]:
    """What a trial with frozen stages reads: its training photographs, in each of their views, and the others."""
    assert isinstance(config.model, BackboneConfig)
    views: Sequence[int | None] = range(config.model.views) if config.data.use_augmentation else [None]
    wanted = [(TRAIN, view) for view in views] + [(VAL, None)]
    root = Path(config.data.cache_dir).expanduser()
    return [Part(split, view, root / _name(config, split, view)) for split, view in wanted]


def _name(config: TrialConfig, split: str, view: int | None) -> str:
    model, data = config.model, config.data
    assert isinstance(model, BackboneConfig)
    photos = data.fingerprint or inspect_data(data).fingerprint
    decided_by = [
        FORMAT, photos, data.val_share, SPLIT_SEED, split, view, VIEW_SEED, data.image_size, data.crop_size,
        model.backbone, weights_of(model), frozen_stages(model.backbone, model.strategy, model.k_layers),
        resolve_precision(config.precision),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:16]
    kind = split if view is None else f"{split}-view{view}"
    return f"features-{model.backbone}-{kind}-{data.image_size}px-{digest}"


def sizes_of(config: TrialConfig, num_classes: int) -> Sizes:
    """How large the features of a trial are; pushes one black image through the frozen stages."""
    assert isinstance(config.model, BackboneConfig)
    splits = load_splits(config.data)
    shape, dtype = _probe(config.model, config.data.image_size, num_classes, config.precision)
    views = config.model.views if config.data.use_augmentation else 1
    count = len(splits.train) * views + len(splits.val)
    return Sizes(shape, dtype, count * int(np.prod(shape)) * dtype.itemsize)


@lru_cache(maxsize=64)
def _probe(
    model: BackboneConfig, side: int, num_classes: int, precision: Precision
) -> tuple[tuple[int, ...], torch.dtype]:
    prefix, _ = build_parts(model, side, num_classes)
    features = _push(prefix, torch.zeros(1, 3, side, side), precision)
    return tuple(features.shape[1:]), features.dtype


def open_features(config: TrialConfig, num_classes: int) -> tuple[Features, Features]:
    """Training and validation features of a trial; what is missing is computed first."""
    parts = parts_of(config)
    _compute_missing(config, parts, num_classes)
    splits = load_splits(config.data)
    opened = [_open(part.directory) for part in parts]
    dtype = getattr(torch, json.loads((parts[0].directory / MANIFEST_JSON).read_text())["dtype"])
    labels = {TRAIN: splits.train.labels[splits.train.rows], VAL: splits.val.labels[splits.val.rows]}
    return Features(opened[:-1], labels[TRAIN], dtype), Features(opened[-1:], labels[VAL], dtype)


# The same array for the same file, so that its copy on a GPU is found again.
@lru_cache(maxsize=16)
def _open(directory: Path) -> NDArray[Any]:
    os.utime(directory)  # when it was last used, for inat.data.cache
    return np.asarray(np.load(directory / FEATURES_NPY, mmap_mode="r"))


def _compute_missing(config: TrialConfig, parts: Sequence[Part], num_classes: int) -> None:
    busy = [part for part in parts if not _compute(config, part, num_classes, timeout=0)]
    for part in busy:
        _compute(config, part, num_classes, timeout=-1)


def _compute(config: TrialConfig, part: Part, num_classes: int, timeout: float) -> bool:
    """Compute a part unless it is there; False if another process is at it after ``timeout`` seconds (-1: wait)."""
    if part.directory.exists():
        return True
    part.directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(part.directory.with_name(f"{part.directory.name}.lock"), timeout=timeout):
            if not part.directory.exists():
                _build(config, part, num_classes)
    except Timeout:
        return False
    return True


def _build(config: TrialConfig, part: Part, num_classes: int) -> None:
    building = part.directory.with_name(part.directory.name + BUILDING)
    shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
    building.mkdir()
    try:
        _write(config, part, building, num_classes)
        os.replace(building, part.directory)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write(config: TrialConfig, part: Part, building: Path, num_classes: int) -> None:
    assert isinstance(config.model, BackboneConfig)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side, precision = config.data.image_size, config.precision
    shape, dtype = _probe(config.model, side, num_classes, precision)
    split = _split(load_splits(config.data), part)
    needed = len(split) * int(np.prod(shape)) * dtype.itemsize
    check_space(building, needed, "keeping features", "pass --cache-dir on a larger disk, or lower --max-feature-gb")
    prefix = build_parts(config.model, side, num_classes)[0].to(device).to(memory_format=torch.channels_last)
    file: NDArray[Any] | None = None
    with _drawing(part.view, device), torch.inference_mode():
        row = 0
        for images in _images(config, split, device):
            features = channels_last(_push(prefix, images, precision))
            bits = _storable(features)
            if file is None:
                file = np.lib.format.open_memmap(
                    building / FEATURES_NPY, "w+", dtype=bits.dtype, shape=(len(split), *bits.shape[1:])
                )
            file[row : row + len(bits)] = bits
            row += len(bits)
    assert isinstance(file, np.memmap)
    file.flush()
    prefix.cpu()
    (building / MANIFEST_JSON).write_text(json.dumps(_manifest(config, part, features, row), indent=2))


def _manifest(config: TrialConfig, part: Part, features: Tensor, photos: int) -> dict[str, Any]:
    model = config.model
    assert isinstance(model, BackboneConfig)
    kept = f"k_layers={model.k_layers}" if model.strategy == "freeze_partial" else model.strategy
    view = "" if part.view is None else f", view {part.view}"
    return {
        "features": f"{model.backbone} ({kept}), {part.split}{view}", "dtype": str(features.dtype).split(".")[1],
        "shape": list(features.shape[1:]), "folder": config.data.data, "size": config.data.image_size,
        "photos": photos, "skipped": 0, "fingerprint": config.data.fingerprint or inspect_data(config.data).fingerprint,
    }  # fmt: skip


def _split(splits: Splits, part: Part) -> Split:
    split = splits.train if part.split == TRAIN else splits.val
    return split if part.view is not None else replace(split, crops=None)


@contextmanager
def _drawing(view: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers for one view, and the trial's own as if none had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if view is not None:
            torch.manual_seed(VIEW_SEED + view)
        yield


def _images(config: TrialConfig, split: Split, device: torch.device) -> Iterator[Tensor]:
    module = ImageDataModule(config.data, BATCH)
    for batch in make_loader(split, BATCH, device):
        yield module.on_after_batch_transfer(Batch(*(None if p is None else p.to(device) for p in batch)))[0]  # type: ignore[arg-type]


def _push(prefix: StagedNetwork, images: Tensor, precision: Precision) -> Tensor:
    with torch.no_grad(), autocast(precision, images.device.type):
        features: Tensor = prefix.eval()(images.contiguous(memory_format=torch.channels_last))
    return features


def _storable(features: Tensor) -> NDArray[Any]:
    """The values as numpy has them; bfloat16, which it lacks, as the same bits of uint16."""
    bits = features.view(torch.uint16) if features.dtype == torch.bfloat16 else features
    return bits.cpu().numpy()
