"""The usual script of the outside world: timm's ResNet-18, torchvision's transforms, a DataLoader, float32.

Up to 64 px the network begins as is usual for CIFAR: a 3x3 convolution of stride 1 and no max-pool. SGD with momentum
0.9, learning rate 0.1, weight decay 5e-4 and cosine; random crop with padding 4, flip, batches of 128. Photos are
decoded in every epoch, by WORKERS processes. It trains on the same split as inat.
"""

import copy
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets.folder import default_loader

from inat.config.trial import DataConfig
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.splits import Assignment, assignment

WORKERS = 2
BATCH = 128
SMALL = 64  # px; up to here, timm's stem for ImageNet would leave at most 16 x 16 pixels to the residual blocks
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4


class Photos(Dataset[tuple[Tensor, int]]):
    """Photos and their labels, decoded each time as torchvision's ImageFolder does."""

    def __init__(self, assigned: Assignment, folder: Path, rows: Sequence[int], transform: Any) -> None:
        names, labels = assigned.listing.names, assigned.listing.labels
        self.samples = [(str(folder / names[row]), labels[row]) for row in rows]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        return self.transform(default_loader(path)), label


def network(image_size: int, classes: int) -> nn.Module:
    """timm's ResNet-18 without pretrained weights."""
    import timm

    net: Any = timm.create_model("resnet18", num_classes=classes)
    if image_size <= SMALL:
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    return net  # type: ignore[no-any-return]


def loaders(data: DataConfig) -> dict[str, DataLoader[tuple[Tensor, int]]]:
    """The loaders "train", "val" and "test"; with ``train_on_val``, "train" has the validation photos, too."""
    size = data.image_size
    normalised = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    plain = transforms.Compose([transforms.Resize((size, size)), *normalised])
    augmented = transforms.Compose([
        transforms.Resize((size, size)), transforms.RandomCrop(size, padding=4), transforms.RandomHorizontalFlip(),
        *normalised,
    ])  # fmt: skip
    assigned, folder = assignment(data), Path(data.data)
    rows = {name: getattr(assigned.rows, name).tolist() for name in ("train", "val", "test")}
    if data.train_on_val:
        rows["train"] += rows["val"]
    return {
        name: DataLoader(
            Photos(assigned, folder, part, augmented if name == "train" else plain), BATCH, shuffle=name == "train",
            num_workers=WORKERS,
        )
        for name, part in rows.items()
    }  # fmt: skip


def train(data: DataConfig, epochs: int, seed: int, threads: int, test: bool = False) -> dict[str, Any]:
    """Train once; returns the same numbers as ``one_training.train``, with the processor time of the workers."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = loaders(data)
    net = network(data.image_size, len(assignment(data).listing.development.classes)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curve: list[float] = []
    kept: dict[str, Tensor] = {}
    started, processor = time.monotonic(), _processor_seconds()
    for _ in range(epochs):
        _epoch(net, optimizer, parts["train"], device)
        schedule.step()
        curve.append(accuracy(net, parts["val"], device))
        if data.train_on_val or curve[-1] == max(curve):
            kept = copy.deepcopy(net.state_dict())
    row = {"val": max(curve), "curve": curve, "seconds": time.monotonic() - started,
           "cpu": _processor_seconds() - processor, "epochs": epochs,
           "parameters": sum(parameter.numel() for parameter in net.parameters())}  # fmt: skip
    net.load_state_dict(kept)
    return row | ({"test": accuracy(net, parts["test"], device)} if test else {})


def _epoch(net: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[Any], device: torch.device) -> None:
    net.train()
    for images, labels in loader:
        loss = functional.cross_entropy(net(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(net: nn.Module, loader: DataLoader[Any], device: torch.device) -> float:
    """The share of the images that the network classifies correctly."""
    net.eval()
    right, count = 0, 0
    for images, labels in loader:
        right += int((net(images.to(device)).argmax(1) == labels.to(device)).sum())
        count += len(labels)
    return right / count


def _processor_seconds() -> float:
    """Processor seconds of this process and of the workers that have ended."""
    return sum(os.times()[:4])
