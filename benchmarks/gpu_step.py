"""Time the parts of training steps in a plain loop without Lightning, for benchmarks/gpu_epoch.py."""

import itertools
import time
from typing import Any

import torch
from lightning_fabric.utilities import move_data_to_device

from inat.config.trial import TrialConfig
from inat.data.datamodule import ImageDataModule
from inat.data.loader import make_loader
from inat.models.classifier import Classifier
from inat.models.factory import build_network
from inat.training.memory import keep_freed_memory
from inat.training.precision import resolve_precision, use_tensor_cores

WARM_STEPS = 10
PARTS = ("gather", "prepare", "forward", "backward", "optimizer")


def mark(device: str) -> Any:
    """A point in time; on a GPU, the point at which it has done all work submitted so far."""
    if device == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(before: Any, after: Any) -> float:
    """Milliseconds between two marks."""
    return 1e3 * (after - before) if isinstance(after, float) else float(before.elapsed_time(after))


def finish(device: str) -> None:
    """Wait until the GPU has done all submitted work."""
    if device == "cuda":
        torch.cuda.synchronize()


def step_parts(config: TrialConfig, device: str, steps: int) -> dict[str, float]:
    """Mean milliseconds of each part of a training step, and images per second ("bare") of the loop."""
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # as in inat's trainings
    use_tensor_cores(torch.device(device))
    data = ImageDataModule(config.data, config.optim.batch_size)
    classes = len(data.classes)
    net = build_network(config, classes)
    classifier = Classifier(net, config.optim, classes).to(device).to(memory_format=torch.channels_last).train()
    if config.compile:
        net.compile()
    optimizer = classifier.configure_optimizers()["optimizer"]
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(resolve_precision("auto"))
    loader = make_loader(data.splits.train, config.optim.batch_size, torch.device(device), shuffle_seed=0)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def one_step() -> tuple[int, list[Any]]:
        marks = [mark(device)]
        batch = next(batches)
        marks.append(mark(device))
        images, labels = data.on_after_batch_transfer(move_data_to_device(batch, torch.device(device)))
        marks.append(mark(device))
        with torch.autocast(device, dtype, enabled=dtype is not None):
            loss = classifier.training_step((images, labels), 0)
        marks.append(mark(device))
        loss.backward()
        marks.append(mark(device))
        optimizer.step()
        optimizer.zero_grad()
        return len(labels), [*marks, mark(device)]

    for _ in range(WARM_STEPS):
        one_step()
    finish(device)
    counts, marks = zip(*(one_step() for _ in range(steps)), strict=True)
    finish(device)
    parts = {name: sum(between(m[i], m[i + 1]) for m in marks) / steps for i, name in enumerate(PARTS)}
    return parts | {"bare": 1e3 * sum(counts) / between(marks[0][0], marks[-1][-1])}
