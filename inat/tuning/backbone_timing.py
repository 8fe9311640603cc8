"""Time the stages of a backbone on this machine, and a training step of the whole network."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from inat.config.finetune import FinetuneConfig
from inat.config.trial import Precision
from inat.device import kind
from inat.models.backbones import build_backbone
from inat.models.stages import StagedNetwork
from inat.training.memory import keep_freed_memory
from inat.training.precision import autocast, resolve_precision
from inat.training.precision_choice import FEATURE_USES, TOLERANCE
from inat.tuning.stopwatch import now

BATCH = {"cpu": 16, "cuda": 64, "mps": 64}  # images that are measured together
PASSES = 3


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage of a backbone: seconds of a forward pass, and bytes and type of its output, both for one image."""

    seconds: float
    bytes: int
    parameters: int
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Costs of the stages, and the time of a training step of the whole network as a multiple of a forward pass.

    With precision "auto", ``lower`` has the costs in 16-bit arithmetic if this machine has it.
    """

    stages: Sequence[StageCost]
    step_factor: float
    lower: "NetworkCost | None" = None

    def chosen(self, frozen: int, keeps: bool) -> "NetworkCost":
        """The costs in the arithmetic that trials with ``frozen`` stages take, as ``precision_choice`` decides."""
        if self.lower is None:
            return self
        ratio = self.lower._step(frozen, keeps) / max(self._step(frozen, keeps), 1e-12)
        return self if ratio > TOLERANCE else self.lower

    def _step(self, frozen: int, keeps: bool) -> float:
        prefix = sum(stage.seconds for stage in self.stages[:frozen])
        suffix = sum(stage.seconds for stage in self.stages[frozen:])
        return self.step_factor * suffix + prefix / (FEATURE_USES if keeps else 1)


def measure_backbone(backbone: str, image_size: int, num_classes: int, config: FinetuneConfig) -> NetworkCost:
    """Time each stage, and a training step of the whole network, on this machine with the threads of one trial.

    ``image_size`` is in pixels. The GPU is used if there is one.
    """
    device = kind()
    torch.set_num_threads(int(config.cpus_per_trial or 1))
    keep_freed_memory()
    network = build_backbone(backbone, num_classes, image_size=image_size).to(device)
    network.to(memory_format=torch.channels_last)
    images = torch.rand(BATCH[device], 3, image_size, image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    lower = resolve_precision(config.precision)
    if config.precision != "auto" or lower == "32-true":
        return _measure(network, images, lower)
    return replace(_measure(network, images, "32-true"), lower=_measure(network, images, lower))


def _measure(network: StagedNetwork, images: Tensor, precision: Precision) -> NetworkCost:
    # The first pass is a warm-up.
    passes = [_time_stages(network.eval(), images, precision) for _ in range(PASSES + 1)][1:]
    stages = [
        replace(same[0], seconds=statistics.median(s.seconds for s in same)) for same in zip(*passes, strict=True)
    ]
    step = statistics.median(_time_steps(network.train(), images, precision))
    return NetworkCost(stages, max(1.0, step / len(images) / sum(stage.seconds for stage in stages)))


def _time_stages(network: StagedNetwork, images: Tensor, precision: Precision) -> list[StageCost]:
    stages, features = [], images
    with torch.inference_mode(), autocast(precision, images.device.type):
        for stage in network:
            started = now(images.device.type)
            features = stage(features)
            seconds = (now(images.device.type) - started) / len(images)
            parameters = sum(parameter.numel() for parameter in stage.parameters())
            dtype = str(features.dtype).removeprefix("torch.")
            stages.append(StageCost(seconds, features[0].numel() * features.element_size(), parameters, dtype))
    return stages


def _time_steps(network: StagedNetwork, images: Tensor, precision: Precision) -> list[float]:
    """Return the seconds of some training steps of the whole network, without the first."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    seconds = []
    for _ in range(PASSES):
        started = now(images.device.type)
        optimizer.zero_grad()
        with autocast(precision, images.device.type):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        seconds.append(now(images.device.type) - started)
    return seconds[1:]
