"""A plain PyTorch loop over tensors in memory, without Lightning and loaders: the lower bound of an epoch's time.

It computes like inat: bfloat16 if the processor supports it, channels last, fused Adam, freed memory kept. Without
augmentation the normalised images are in memory; with it the larger uint8 images are, and inat's function augments
them.
"""

import time

import torch
from torch import Tensor
from torch.nn import functional

from inat.config.trial import TrialConfig
from inat.data.augment import augment, normalise, scale_to_one
from inat.data.splits import Split, load_splits
from inat.models.factory import build_network
from inat.training.memory import keep_freed_memory
from inat.training.precision import resolve_precision


class BareLoop:
    """One network, its optimizer and its data on one device."""

    def __init__(self, config: TrialConfig) -> None:
        keep_freed_memory()
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        splits = load_splits(config.data)
        net = build_network(config, len(splits.classes))
        self.net = net.to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(net.parameters(), config.optim.learning_rate, fused=True)
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(resolve_precision("auto"))
        self.labels, self.val_labels = (self._on_device(s.labels[s.rows]) for s in (splits.train, splits.val))
        self.val_images = self._ready(splits.val)
        crops, rows = splits.train.crops, splits.train.rows
        self.images = self._ready(splits.train) if crops is None else self._on_device(crops.images[rows])
        self.aspects = None if crops is None else self._on_device(crops.aspects[rows])

    def _on_device(self, values: object) -> Tensor:
        return torch.tensor(values, device=self.device)

    def _ready(self, split: Split) -> Tensor:
        """The normalised images as (N, H, W, 3), the layout from which a batch is gathered fastest."""
        images = self._on_device(split.images[split.rows]).permute(0, 3, 1, 2)
        return normalise(scale_to_one(images)).permute(0, 2, 3, 1).contiguous()

    def _batch(self, rows: Tensor) -> Tensor:
        batch = self.images.index_select(0, rows).permute(0, 3, 1, 2)
        if self.aspects is None:
            return batch
        augmented = augment(batch, self.aspects[rows], self.config.data.image_size)
        return normalise(augmented.contiguous(memory_format=torch.channels_last))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def epoch(self) -> None:
        """Train on every image once, then count the correct predictions in validation."""
        size = self.config.optim.batch_size
        self.net.train()
        for rows in torch.randperm(len(self.labels), device=self.device).split(size):
            batch = self._batch(rows)
            with self._autocast():
                loss = functional.cross_entropy(self.net(batch), self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.net.eval()
        with torch.inference_mode(), self._autocast():
            parts = zip(self.val_images.split(size), self.val_labels.split(size), strict=True)
            int(sum((self.net(x.permute(0, 3, 1, 2)).argmax(1) == y).sum() for x, y in parts))

    def images_per_second(self, epochs: int) -> float:
        """Images per second over ``epochs`` epochs, after one to warm up."""
        self.epoch()
        started = time.perf_counter()
        for _ in range(epochs):
            self.epoch()
        return (len(self.labels) + len(self.val_labels)) * epochs / (time.perf_counter() - started)
