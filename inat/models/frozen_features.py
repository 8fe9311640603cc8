"""What the frozen stages of a backbone make of the photographs: computed once a machine, kept as memory maps.

A directory's name holds a hash of all that decides over its values: the photographs and which of them, the image size,
the view, the weights, the split point, the arithmetic, the kind of device and the versions of the libraries.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torchvision
from numpy.typing import NDArray
from rich.filesize import decimal
from torch import Tensor

from inat.config.trial import BackboneConfig, Precision, TrialConfig
from inat.constants import DIGITS, TRAIN, VAL
from inat.data.datamodule import Features, channels_last, network_input
from inat.data.feature_store import FeatureStore, build_missing, open_store, write_store
from inat.data.loader import Batch, SplitDataset, loader_of
from inat.data.splits import Split, Splits, load_splits
from inat.errors import ConfigError, DataError
from inat.models.factory import load_pretrained
from inat.models.stages import StagedNetwork
from inat.training.memory import keep_freed_memory
from inat.training.precision import autocast, is_out_of_memory, resolve_precision

FORMAT = 1  # counts up when the same name would stand for other values
BATCH = 64  # photographs that go through the frozen stages at a time, fewer where a device is too small
VIEW_SEED = 20_000  # view v is drawn from VIEW_SEED + v, for every trial of every study


@dataclass(frozen=True, slots=True)
class Part:
    """The features of one split in one view; None is the photographs as they are."""

    name: str
    photos: Split
    view: int | None
    directory: Path


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """What a trial reads instead of photographs: the training ones in each of their views, then the validation ones.

    ``network`` is shared by the trials of this process; ``photo_bytes`` and ``dtype`` are of one photograph's features.
    """

    config: TrialConfig
    network: StagedNetwork
    parts: tuple[Part, ...]
    photo_bytes: int
    dtype: str

    @property
    def directory(self) -> Path:
        """Where they are kept."""
        return self.parts[0].directory.parent

    @property
    def bytes(self) -> int:
        """The size of all of them."""
        return self._bytes_of(self.parts)

    @property
    def missing_bytes(self) -> int:
        """The size of those that have yet to be computed."""
        return self._bytes_of(part for part in self.parts if not part.directory.exists())

    def _bytes_of(self, parts: Iterable[Part]) -> int:
        return sum(len(part.photos) for part in parts) * self.photo_bytes


def plan_features(config: TrialConfig) -> FeaturePlan | None:
    """What ``config`` needs, and how much that is; None if no stage is frozen or it wants no features."""
    model, splits = config.model, load_splits(config.data)
    if not isinstance(model, BackboneConfig) or not model.views or config.optim.alters_images:
        return None
    network = load_pretrained(model, config.data.image_size, len(splits.classes))
    if not network.frozen:
        return None
    probed = _probe(model, config.data.image_size, len(splits.classes), config.precision)
    return FeaturePlan(config, network, tuple(_parts(config, splits, network)), *probed)


def _parts(config: TrialConfig, splits: Splits, network: StagedNetwork) -> Iterator[Part]:
    assert isinstance(config.model, BackboneConfig)
    views: Sequence[int | None] = range(config.model.views) if config.data.use_augmentation else [None]
    plain = replace(splits.train, crops=None)
    wanted = [(TRAIN, plain if view is None else splits.train, view) for view in views] + [(VAL, splits.val, None)]
    for name, photos, view in wanted:
        kind = name if view is None else f"{name}-view{view}"
        digest = _digest(config, splits.state, network, photos, view)
        directory = f"features-{network.name}-{kind}-{digest}-{config.data.image_size}px"
        yield Part(name, photos, view, Path(config.data.cache_dir) / directory)


def _digest(config: TrialConfig, state: str, network: StagedNetwork, photos: Split, view: int | None) -> str:
    drawn = None if view is None else [VIEW_SEED + view, config.data.crop_size, *_light(config)]
    decided_by = [
        FORMAT, state, hashlib.sha256(photos.rows.tobytes()).hexdigest(), config.data.image_size, drawn, network.name,
        network.weights, network.frozen, resolve_precision(config.precision), _device().type, torch.__version__,
        torchvision.__version__,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:16]


def _light(config: TrialConfig) -> list[str]:
    return ["light"] if config.data.light_augmentation else []  # nothing for the usual one, of which there are features


@lru_cache(maxsize=64)
def _probe(model: BackboneConfig, side: int, num_classes: int, precision: Precision) -> tuple[int, str]:
    """Bytes of one photograph's features, and torch's name of their type."""
    features = _push(load_pretrained(model, side, num_classes).prefix(), torch.zeros(1, 3, side, side), precision)
    return features.nbytes, str(features.dtype).removeprefix("torch.")


def open_features(plan: FeaturePlan, heartbeat: Callable[[], None] = lambda: None) -> tuple[Features, Features]:
    """Training and validation features; what is missing is computed first, by one process while others wait.

    ``heartbeat`` is called with every batch computed, and about once a second of waiting.
    """
    parts = {part.directory: part for part in plan.parts}
    if plan.missing_bytes:
        print(_announcement(plan), file=sys.stderr, flush=True)
    build_missing(parts, lambda directory: _compute(plan, parts[directory], heartbeat), heartbeat)
    stores = _open_all(tuple(parts))
    labels = [part.photos.labels[part.photos.rows] for part in plan.parts]
    return Features(stores[:-1], labels[0]), Features(stores[-1:], labels[-1])


def _announcement(plan: FeaturePlan) -> str:
    return (
        f"pushing {plan.missing_bytes // plan.photo_bytes:,} photos once through {plan.network.frozen} frozen stages "
        f"of {plan.network.name}: {decimal(plan.missing_bytes)} in {plan.directory}"
    )


# The same arrays for the process's next trial, so that their copies on a GPU are found again.
@lru_cache(maxsize=1)
def _open_all(directories: tuple[Path, ...]) -> tuple[FeatureStore, ...]:
    stores = tuple(store for directory in directories if (store := open_store(directory)) is not None)
    if len(stores) < len(directories):
        raise DataError(f"features in {directories[0].parent} were removed while they were opened; start again")
    return stores


def _compute(plan: FeaturePlan, part: Part, heartbeat: Callable[[], None]) -> None:
    keep_freed_memory()  # for those who compute before any training; without it the stages take twice as long
    device = _device()
    with _moved(plan.network.prefix(), device) as prefix, _drawing(part.view, device):
        batches = _outputs(plan, prefix, part.photos, device)
        write_store(part.directory, _telling(batches, heartbeat), len(part.photos), _manifest(plan, part))


def _telling(batches: Iterable[NDArray[Any]], heartbeat: Callable[[], None]) -> Iterator[NDArray[Any]]:
    for batch in batches:
        heartbeat()
        yield batch


def _manifest(plan: FeaturePlan, part: Part) -> dict[str, Any]:
    """For inat.data.cache, and of which type the numbers are."""
    data, network = plan.config.data, plan.network
    view = "" if part.view is None else f", view {part.view}"
    return {
        "features": f"{network.frozen} of {len(network)} stages of {network.name}, {part.name}{view}",
        "dtype": plan.dtype, "size": data.image_size, "photos": len(part.photos), "skipped": 0,
        "state": load_splits(data).state, "folder": DIGITS if data.data == DIGITS else str(Path(data.data) / TRAIN),
    }  # fmt: skip


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _moved(prefix: StagedNetwork, device: torch.device) -> Iterator[StagedNetwork]:
    try:
        yield prefix.to(device)
    finally:
        prefix.cpu()  # its modules are shared with the networks of the process's trials


@contextmanager
def _drawing(view: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers for one view, and the trial's own as if none had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if view is not None:
            torch.manual_seed(VIEW_SEED + view)
        yield


def _outputs(plan: FeaturePlan, prefix: StagedNetwork, photos: Split, device: torch.device) -> Iterator[NDArray[Any]]:
    """The features of a split, some photographs at a time; fewer at a time once the device was too small for them."""
    most = BATCH
    for images in _images(plan.config, photos, device):
        done = 0
        while done < len(images):
            part, features = images[done : done + most], None
            try:
                features = _push(prefix, part, plan.config.precision)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(part) == 1:
                    raise
            if features is None:  # out of the handler, whose traceback holds what had been computed
                torch.cuda.empty_cache()
                most = (len(part) + 1) // 2
                continue
            _refuse_what_is_no_number(features, plan)
            done += len(features)
            yield _as_numpy(channels_last(features))


def _images(config: TrialConfig, photos: Split, device: torch.device) -> Iterator[Tensor]:
    # From the computer's memory, as training will not need the photographs on the GPU.
    dataset = SplitDataset(photos, torch.device("cpu"))
    for batch in loader_of(dataset, None, BATCH, to_send=device.type == "cuda"):
        sent = Batch(*(None if part is None else part.to(device, non_blocking=True) for part in batch))  # type: ignore[arg-type]
        yield network_input(sent, config.data)


def _push(prefix: StagedNetwork, images: Tensor, precision: Precision) -> Tensor:
    with torch.no_grad(), autocast(precision, images.device.type):
        features: Tensor = prefix(images.contiguous(memory_format=torch.channels_last))
    return features


def _refuse_what_is_no_number(features: Tensor, plan: FeaturePlan) -> None:
    if not bool(features.isfinite().all()):
        raise ConfigError(
            f"the frozen stages of {plan.network.name} make values that are no numbers, computed as "
            f"{resolve_precision(plan.config.precision)}; pass --precision 32-true or other weights"
        )


def _as_numpy(features: Tensor) -> NDArray[Any]:
    """The values as numpy has them; bfloat16, which it lacks, as the same bits of uint16."""
    bits = features.view(torch.uint16) if features.dtype == torch.bfloat16 else features
    return bits.cpu().numpy()
