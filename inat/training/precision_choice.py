"""Which arithmetic trains a network faster on this device: measured once, then read from the study or the cache.

16-bit arithmetic that the hardware supports is not always faster: on a CPU with AVX512-BF16, a training step of
mobilenet_v2 takes 1.4 to 2 times as long in bfloat16 as in float32, and one of resnet50 0.7 times.

The choice is kept as a line of JSON in a file of the study, which all its nodes share, and in one of the cache, for
other studies. The first line about a network counts, so no trial of a study computes in another way than the others.
"""

import dataclasses
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.nn import functional

from analysis.files import parse_json, read_bytes
from inat.config.backbones import BackboneConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.trial import PRECISIONS, Precision, TrialConfig
from inat.constants import PRECISION_JSONL
from inat.data.private_folder import create_private
from inat.data.splits import load_splits
from inat.device import free_cached, gpu_name, kept_random_state, this_device, wait_for
from inat.errors import DataError, InatError
from inat.models.factory import build_network
from inat.models.stages import StagedNetwork
from inat.training.memory import is_out_of_memory, keep_freed_memory
from inat.training.precision import autocast, resolve_precision

FORMAT = 1  # increase it when the measurement changes
CPU_BATCH = 16  # images per measured step; on a GPU, where launches may decide, as many as the trial has
ROUNDS, MOST_ROUNDS = 5, 25  # pairs of steps whose ratios have a median: more than ROUNDS while they take MIN_SECONDS
MIN_SECONDS, MAX_SECONDS = 1.0, 10.0  # after MAX_SECONDS, no further pair begins
TOLERANCE = 1.05  # ratio of 16-bit to float32 seconds from which on float32 is taken: less may be noise
FEATURE_USES = 10  # times that a trial trains on kept features of an image, for each time that they are computed
LOCK_SECONDS = 120.0  # to wait for another process that measures; then this one measures as well
SWITCH = "INAT_MEASURE_PRECISION"  # "0" in this environment variable: "auto" follows the hardware, unmeasured
MAX_RECORD_BYTES = 50_000_000

Measure = Callable[[TrialConfig, int], float]
# Settings that change neither the layers nor the work of a step.
IRRELEVANT = frozenset({
    "weights", "weights_dir", "weights_sha256", "body_lr_factor", "max_feature_gb", "max_cache_gb", "feature_rules",
    "dropout",
})  # fmt: skip


def settle_precision(
    config: TrialConfig, record: Path | None, measure: Measure | None = None, *, num_classes: int | None = None
) -> TrialConfig:
    """``config`` with the precision that "auto" means for its network on this device; another precision stays.

    ``record`` is the file of the study, None before there is one: a plan then takes, and keeps, the choice of this
    node's cache. The hardware's 16-bit arithmetic is taken unless a training step in it takes more than TOLERANCE times
    as long as in float32. ``measure`` returns that ratio. ``num_classes`` are counted in the decoded images if they are
    None.
    """
    lower = resolve_precision("auto")
    if config.precision != "auto" or lower == "32-true" or os.environ.get(SWITCH) == "0":
        return config
    key = network_key(config)
    known = None if record is None else read_choice(record, key)
    if known is None:
        known = _choice_of_node(config, key, measure or measure_ratio, num_classes)
        if record is not None:  # another node may have been first; its choice counts
            known = keep_choice(record, key, known, config)
    return dataclasses.replace(config, precision=known)


def network_key(config: TrialConfig) -> str:
    """Identifies what decides the choice: the network, the image size, its frozen stages, the device and torch."""
    model = {name: v for name, v in dataclasses.asdict(config.model).items() if name not in IRRELEVANT}
    if isinstance(config.model, BackboneConfig):
        model["views"] = bool(model["views"])
    decided_by = [FORMAT, type(config.model).__name__, model, config.data.image_size, _device_name(), torch.__version__]
    if this_device().type != "cpu":
        decided_by.append(config.optim.batch_size)
    return hashlib.sha256(json.dumps(decided_by, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _device_name() -> str:
    if name := gpu_name():
        return name
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    threads = torch.get_num_threads()
    return json.dumps([threads, *(f"{name}={value}" for name, value in sorted(capabilities.items()) if value)])


def _choice_of_node(config: TrialConfig, key: str, measure: Measure, num_classes: int | None) -> Precision:
    cache = Path(config.data.cache_dir) / PRECISION_JSONL
    with _one_at_a_time(cache):
        known = read_choice(cache, key)
        if known is None:
            ratio = measure(config, len(load_splits(config.data).classes) if num_classes is None else num_classes)
            known = "32-true" if ratio > TOLERANCE else resolve_precision("auto")
            known = keep_choice(cache, key, known, config, ratio)
    return known


@contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    """Hold a lock beside ``cache``, so that no two trials of a node measure the same; without one if it cannot be had.

    The cache may be read-only, and another process may take too long.
    """
    lock = FileLock(cache.with_suffix(".lock"), timeout=LOCK_SECONDS)
    with suppress(OSError, DataError):
        create_private(cache.parent)
    try:
        lock.acquire()
    except (OSError, NotImplementedError, Timeout):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def read_choice(path: Path, key: str) -> Precision | None:
    """The first choice for ``key`` in a file; None if there is none. Damaged lines are skipped."""
    try:
        lines = read_bytes(path, MAX_RECORD_BYTES).splitlines()
    except OSError:
        return None
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            values = parse_json(line)
            if values["key"] == key and values["precision"] in PRECISIONS and values["precision"] != "auto":
                chosen: Precision = values["precision"]
                return chosen
    return None


def keep_choice(path: Path, key: str, chosen: Precision, config: TrialConfig, ratio: float | None = None) -> Precision:
    """Append a choice to a file, and return the one that counts there; ``chosen`` if the file cannot be written."""
    line: dict[str, Any] = {"key": key, "precision": chosen, "network": _describe(config)}
    if ratio is not None and math.isfinite(ratio):
        line["seconds of 16 bit / of 32 bit"] = round(ratio, 3)
    with suppress(OSError), path.open("ab") as file:
        # One write of a whole line, so that lines of several processes do not mix; after a power cut, on a new line.
        file.write(("\n" * _lacks_newline(path) + json.dumps(line) + "\n").encode())
    return read_choice(path, key) or chosen


def _lacks_newline(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
    return False


def _describe(config: TrialConfig) -> str:
    model, size = config.model, f"{config.data.image_size} px"
    if not isinstance(model, BackboneConfig):
        return f"{type(model).__name__}, {size}"
    k = f" k={model.k_layers}" if model.k_layers else ""
    return f"{model.backbone}, {model.strategy}{k}, {size}"


def measure_ratio(config: TrialConfig, num_classes: int) -> float:
    """Seconds of a training step in the hardware's 16-bit arithmetic over those in float32, on images of noise.

    1 if the device has too little memory to measure, and infinity if a layer cannot compute in 16 bit. Random numbers
    of the trial are not touched.
    """
    keep_freed_memory()
    device = this_device()
    with kept_random_state(device):
        try:
            step = _StepTimer(config, num_classes, device)
            return compare(step, resolve_precision("auto"))
        except InatError:
            raise
        except Exception as error:  # numpy, which a user's network may call, raises TypeError for bfloat16
            no_memory = isinstance(error, RuntimeError | MemoryError) and is_out_of_memory(error)
            return 1.0 if no_memory else math.inf  # an error of the network itself shows in its training
        finally:
            free_cached(device)


def compare(seconds: Callable[[Precision], float], lower: Precision) -> float:
    """The median ratio of ``lower`` to float32 over alternating steps, so that other load slows both alike.

    >>> compare(lambda precision: 3.0 if precision == "bf16-mixed" else 2.0, "bf16-mixed")
    1.5
    """
    order: tuple[Precision, Precision] = (lower, "32-true")
    for precision in order:
        seconds(precision)  # the first step of each warms up
    ratios: list[float] = []
    started = time.perf_counter()
    while not ratios or time.perf_counter() - started < (MAX_SECONDS if len(ratios) < ROUNDS else MIN_SECONDS):
        took = {precision: seconds(precision) for precision in (order if len(ratios) % 2 else order[::-1])}
        ratios.append(took[lower] / max(took["32-true"], 1e-9))
        if len(ratios) == MOST_ROUNDS:
            break
    return statistics.median(ratios)


class _StepTimer:
    """Times training steps of a network; frozen stages whose features are kept count for the times that they run."""

    def __init__(self, config: TrialConfig, num_classes: int, device: torch.device) -> None:
        model = config.model
        network: Any = build_network(config, num_classes)
        frozen = network.frozen if isinstance(network, StagedNetwork) else 0
        keeps = not isinstance(model, ScratchNetwork) and model.views > 0
        self.frozen_share = 1 / FEATURE_USES if keeps else 1.0
        # The frozen stages are shared with the trials of this process, whose place is the CPU.
        self.prefix = network.prefix() if frozen else None
        self.suffix = (network.suffix() if frozen else network).to(device).to(memory_format=torch.channels_last).train()
        self.device = device
        size, count = config.data.image_size, config.optim.batch_size
        count = min(CPU_BATCH, count) if device.type == "cpu" else count
        images = torch.rand(max(2, count), 3, size, size, device=device)
        self.images = images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.zeros(len(images), dtype=torch.long, device=device)
        self.optimizer = torch.optim.Adam([p for p in self.suffix.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def __call__(self, precision: Precision) -> float:
        features, frozen_seconds = self._run_frozen(precision)
        started = self._now()
        self.optimizer.zero_grad()
        with autocast(precision, self.device.type):
            logits = self.suffix(features)
        functional.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()
        return self._now() - started + self.frozen_share * frozen_seconds

    def _run_frozen(self, precision: Precision) -> tuple[Tensor, float]:
        if self.prefix is None:
            return self.images, 0.0
        self.prefix.to(self.device)
        try:
            started = self._now()
            with torch.no_grad(), autocast(precision, self.device.type):
                features: Tensor = self.prefix(self.images)
            return features, self._now() - started
        finally:
            self.prefix.cpu()

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()  # which the other processes of a busy machine change little
        wait_for(self.device)
        return time.perf_counter()
