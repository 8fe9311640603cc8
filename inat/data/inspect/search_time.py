"""About how long a default search of these images takes on this machine: a few training steps, multiplied."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from inat.config.cnn import CNNConfig
from inat.config.search import SearchConfig
from inat.config.trial import Precision, TrialConfig
from inat.device import gpu_count, kind
from inat.machine import usable_cores
from inat.models.cnn import build_cnn
from inat.training.precision import autocast
from inat.training.precision_choice import settle_precision

# One network from the middle of each space; by --space auto, the small one is for images up to 32 px.
MIDDLE = {"first_layer_filters": 64, "filter_org": 1.0, "conv_layers": 4, "activation": "gelu", "dropout": 0.3,
          "batch_norm": True, "num_neurons_dense": 256}  # fmt: skip
SMALL = MIDDLE | {"first_layer_filters": 16, "conv_layers": 3, "num_neurons_dense": 64}
# Epochs of a mean trial under ASHA (rungs at 3 and 9 of 27 epochs, a third goes on): 3 + 6 / 3 + 18 / 9, and more
# because ASHA promotes the first trials without a comparison.
EPOCHS_PER_TRIAL = 8
VALIDATION_COST = 1 / 3  # of an image: a forward pass of three
GPU_BATCH = 64
CPU_PIXELS = 8 * 224 * 224  # of a batch, which has 2 to 64 images; larger ones take too long on one core
MAX_SECONDS, MAX_STEPS = 1.5, 10  # of the measurement, after one step to warm up


@dataclass(frozen=True, slots=True)
class SearchTime:
    """Estimated seconds of a search of ``trials`` trials of ``space``, ``slots`` of them at a time on ``device``."""

    seconds: float
    trials: int
    slots: int
    device: str
    space: str = ""


def estimate_search_time(config: SearchConfig, classes: int, train: int, val: int) -> SearchTime:
    """The time of the search that ``config`` describes; reading and augmenting images is not included."""
    device = kind()
    slots = gpu_count() or usable_cores()
    per_image = seconds_per_image(config, classes, device)
    trials = config.num_samples or 0
    seconds = trials * EPOCHS_PER_TRIAL * (train + VALIDATION_COST * val) * per_image / slots
    one = "core" if device == "cpu" else "GPU"
    return SearchTime(seconds, trials, slots, f"{slots} {one if slots == 1 else f'{one}s'}", config.default_space)


def seconds_per_image(config: SearchConfig, classes: int, device: str) -> float:
    """Seconds of a training step per image, on one core or GPU as a trial has it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            return _measure(config, classes, device)
    finally:
        torch.set_num_threads(threads)


def _measure(config: SearchConfig, classes: int, device: str) -> float:
    size = config.resolved_image_size
    batch = GPU_BATCH if device != "cpu" else min(64, max(2, CPU_PIXELS // size**2))
    settings: dict[str, Any] = SMALL if config.default_space == "small" else MIDDLE
    model = CNNConfig(**settings | {"conv_layers": min(settings["conv_layers"], size.bit_length() - 1)})
    precision = _precision(config, settings | {"conv_layers": model.conv_layers}, batch)
    network = build_cnn(model, size, max(2, classes)).to(device)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters())
    images = torch.rand(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    started, steps = 0.0, 0
    while True:
        with autocast(precision, device):
            loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the GPU
        if not started:  # the first step warms up
            started = time.perf_counter()
            continue
        steps += 1
        spent = time.perf_counter() - started
        if steps == MAX_STEPS or spent > MAX_SECONDS:
            return spent / steps / batch


def _precision(config: SearchConfig, network: dict[str, Any], batch: int) -> Precision:
    """What --precision means for this network on this machine, as for a trial."""
    own = network | {"learning_rate": 1e-3, "batch_size": batch, "use_augmentation": False}
    return settle_precision(TrialConfig.from_params(config.trial_settings() | own), None).precision
