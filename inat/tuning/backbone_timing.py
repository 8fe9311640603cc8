"""Time the stages of a backbone on this machine, and a training step of the whole network."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from inat.config.finetune import FinetuneConfig
from inat.config.trial import Precision
from inat.models.backbones import build_backbone
from inat.models.stages import StagedNetwork
from inat.training.memory import keep_freed_memory
from inat.training.precision import autocast

BATCH = {"cpu": 16, "cuda": 64}  # images that are measured together
PASSES = 3


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage of a backbone: seconds of a forward pass and bytes of its output, both for one image."""

    seconds: float
    bytes: int
    parameters: int


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Costs of the stages, and the time of a training step of the whole network as a multiple of a forward pass."""

    stages: Sequence[StageCost]
    step_factor: float


def measure_backbone(backbone: str, image_size: int, num_classes: int, config: FinetuneConfig) -> NetworkCost:
    """Time each stage, and a training step of the whole network, on this machine with the threads of one trial.

    ``image_size`` is in pixels. The GPU is used if there is one.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(int(config.cpus_per_trial or 1))
    keep_freed_memory()
    network = build_backbone(backbone, num_classes, image_size=image_size).to(device)
    network.to(memory_format=torch.channels_last)
    images = torch.rand(BATCH[device], 3, image_size, image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    # The first pass is a warm-up.
    passes = [_time_stages(network.eval(), images, config.precision) for _ in range(PASSES + 1)][1:]
    stages = [
        replace(same[0], seconds=statistics.median(s.seconds for s in same)) for same in zip(*passes, strict=True)
    ]
    step = statistics.median(_time_steps(network.train(), images, config.precision))
    return NetworkCost(stages, max(1.0, step / len(images) / sum(stage.seconds for stage in stages)))


def _time_stages(network: StagedNetwork, images: Tensor, precision: Precision) -> list[StageCost]:
    stages, features = [], images
    with torch.inference_mode(), autocast(precision, images.device.type):
        for stage in network:
            started = _now(images.device.type)
            features = stage(features)
            seconds = (_now(images.device.type) - started) / len(images)
            parameters = sum(parameter.numel() for parameter in stage.parameters())
            stages.append(StageCost(seconds, features[0].numel() * features.element_size(), parameters))
    return stages


def _time_steps(network: StagedNetwork, images: Tensor, precision: Precision) -> list[float]:
    """Return the seconds of some training steps of the whole network, without the first."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    seconds = []
    for _ in range(PASSES):
        started = _now(images.device.type)
        optimizer.zero_grad()
        with autocast(precision, images.device.type):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        seconds.append(_now(images.device.type) - started)
    return seconds[1:]


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
