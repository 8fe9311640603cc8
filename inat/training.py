"""One training, with no Ray: a TrialConfig in, metrics out."""

import gc
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.nn import functional

from inat.allocator import keep_freed_memory
from inat.config import DataConfig, Precision, TrialConfig
from inat.constants import (
    BEST_VAL_ACC,
    DIVERGED,
    EPOCH,
    EPOCHS,
    FINISHED,
    MAX_EPOCHS_REACHED,
    MICRO_BATCH,
    OUT_OF_PATIENCE,
    SECONDS,
    TEST,
    TRAIN_ACC,
    TRAIN_LOSS,
    VAL_ACC,
    VAL_LOSS,
)
from inat.data.datamodule import ImageDataModule
from inat.data.loader import Batch
from inat.errors import ConfigError, StudyError
from inat.models.classifier import Classifier
from inat.models.cnn import build_cnn

CONFIG_KEY = "trial_params"  # where a checkpoint keeps the flat TrialConfig
CLASSES_KEY = "classes"
LOOK_EVERY = 32  # batches between two looks at whether a training on a GPU has diverged


class EpochRecorder(pl.Callback):
    """Follows a training: the last epoch's metrics in ``row``, the best accuracy so far, and when to end.

    A training ends at its last epoch, after ``patience`` epochs without a better validation accuracy, or as soon as a
    loss is not finite: that epoch is then validated at once. The state travels with checkpoints.
    """

    def __init__(self, config: TrialConfig, classes: Sequence[str], micro_batch: int | None = None) -> None:
        self.config = config
        self.classes = classes
        self._micro_batch = micro_batch
        self.row: dict[str, Any] = {}
        self.best_val_acc = 0.0
        self.best_epoch = 0
        self.epoch = 0
        self._started = time.monotonic()

    @property
    def improved(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.best_epoch == self.epoch > 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.monotonic()
        # Random numbers depend on (seed, epoch) alone: a resumed training repeats what the first one would have done.
        torch.manual_seed(self.config.seed * 1_000_003 + trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss: torch.Tensor = outputs["loss"]
        # Reading the loss makes the host wait for a GPU, so there only now and then.
        if (loss.device.type == "cpu" or batch_idx % LOOK_EVERY == 0) and not math.isfinite(loss):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {name: float(trainer.callback_metrics[name]) for name in (TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC)}
        self.epoch = trainer.current_epoch + 1
        if metrics[VAL_ACC] > self.best_val_acc or self.best_epoch == 0:
            self.best_val_acc, self.best_epoch = metrics[VAL_ACC], self.epoch
        self.row = {EPOCH: self.epoch, BEST_VAL_ACC: self.best_val_acc, **metrics}
        self.row[SECONDS] = time.monotonic() - self._started
        if self._micro_batch is not None:
            self.row[MICRO_BATCH] = self._micro_batch
        if reason := self._reason_to_end(metrics):
            self.row[FINISHED] = reason
            trainer.should_stop = True

    def _reason_to_end(self, metrics: Mapping[str, float]) -> str | None:
        if not (math.isfinite(metrics[TRAIN_LOSS]) and math.isfinite(metrics[VAL_LOSS])):
            return DIVERGED
        if self.epoch >= self.config.max_epochs:
            return MAX_EPOCHS_REACHED
        if self.epoch - self.best_epoch >= self.config.patience:
            return OUT_OF_PATIENCE
        return None

    def state_dict(self) -> dict[str, Any]:
        names = ("row", "best_val_acc", "best_epoch", "epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self, name, value)


def fit(
    config: TrialConfig,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume_from: Path | None = None,
) -> dict[str, Any]:
    """Train as ``config`` says and return the last epoch's metrics with ``best_val_acc`` and ``epochs``.

    ``callbacks`` run after the recorder, which they find with ``recorder_of(trainer)``. ``resume_from`` is a full
    checkpoint of the same configuration; training goes on behind its epoch if it exists. Where the device has too
    little memory, training starts again, from that checkpoint, in micro-batches of half the size whose gradients add
    up to the same batch; their size stands in the metrics as ``micro_batch``. If even single images are too large, the
    device's out-of-memory error is raised.
    """
    _quiet_lightning()
    keep_freed_memory()
    micro_batch = None
    while True:
        try:
            checkpoint = resume_from if resume_from is not None and resume_from.exists() else None
            return _fit(config, callbacks, checkpoint, micro_batch)
        except RuntimeError as error:  # what CUDA, and the CPU's allocator, raise
            if not _out_of_memory(error) or micro_batch == 1:
                raise
        # Out of the handler, which holds the failed step's tensors through its traceback.
        gc.collect()
        torch.cuda.empty_cache()
        micro_batch = ((micro_batch or config.optim.batch_size) + 1) // 2


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _fit(
    config: TrialConfig, callbacks: Sequence[pl.Callback], resume_from: Path | None, micro_batch: int | None
) -> dict[str, Any]:
    # The data first: it may decode photographs, which must not depend on the trial's seed.
    data = ImageDataModule(config.data, config.optim.batch_size, config.seed)
    torch.manual_seed(config.seed)
    recorder = EpochRecorder(config, data.classes, micro_batch)
    trainer = pl.Trainer(
        max_epochs=config.max_epochs,
        precision=resolve_precision(config.precision),
        accelerator="auto",
        devices=1,
        callbacks=[recorder, *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    # 1.25 times as fast as channels first on CPUs, and what tensor cores want.
    classifier = _classifier(config, len(data.classes), micro_batch).to(memory_format=torch.channels_last)
    if config.compile:
        check_compiler()
        torch.compiler.reset()  # a process compiles only a few networks before it gives up
        classifier.net.compile()
    trainer.fit(classifier, datamodule=data, ckpt_path=resume_from, weights_only=True)
    return recorder.row | {EPOCHS: recorder.epoch}


def recorder_of(trainer: pl.Trainer) -> EpochRecorder:
    """The EpochRecorder of a trainer that ``fit`` made."""
    return next(c for c in trainer.callbacks if isinstance(c, EpochRecorder))  # type: ignore[attr-defined]


def portable_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """What it takes to rebuild the classifier as it is now: weights, configuration, class names and the epoch's row."""
    recorder = recorder_of(trainer)
    return {
        CONFIG_KEY: recorder.config.to_params(),
        CLASSES_KEY: list(recorder.classes),
        "row": recorder.row,
        "state_dict": trainer.lightning_module.state_dict(),
    }


@dataclass(frozen=True, slots=True)
class Loaded:
    """A trained classifier with the configuration and class names stored beside its weights."""

    classifier: Classifier
    config: TrialConfig
    classes: tuple[str, ...]


def load_checkpoint(path: Path) -> Loaded:
    """Rebuild the classifier of a checkpoint that a trial wrote; StudyError if it is missing or not one of ours."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        config, classes = TrialConfig.from_params(checkpoint[CONFIG_KEY]), tuple(checkpoint[CLASSES_KEY])
        classifier = _classifier(config, len(classes))
        classifier.load_state_dict(checkpoint["state_dict"])
    except FileNotFoundError as error:
        raise StudyError(f"no checkpoint {path}; has its trial finished an epoch?") from error
    except (UnpicklingError, KeyError, RuntimeError, ConfigError, ValueError, OSError, EOFError) as error:
        reason = str(error).split("\n")[0]
        raise StudyError(f"{path} is not a checkpoint of this program ({reason}); pass a best.ckpt") from error
    return Loaded(classifier.eval(), config, classes)


def evaluate(checkpoint: Path, split: str = TEST, data_config: DataConfig | None = None) -> dict[str, float]:
    """Loss and accuracy of a checkpoint on "val" or "test": ``{"test_loss": ..., "test_acc": ..., "images": n}``.

    ``data_config`` says where the photographs are now, if not where the trial found them.
    """
    loaded = load_checkpoint(checkpoint)
    # Without augmentation, as its larger images are not needed here.
    where = replace(data_config or loaded.config.data, use_augmentation=False)
    data = ImageDataModule(where, loaded.config.optim.batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier = loaded.classifier.to(device, memory_format=torch.channels_last)
    loss, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
    count = 0
    with torch.inference_mode(), _autocast(loaded.config.precision, device.type):
        for batch in data.evaluation_loader(split):
            images, labels = data.on_after_batch_transfer(Batch(batch.images.to(device), batch.labels.to(device)))
            logits = classifier(images)
            loss += functional.cross_entropy(logits.float(), labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
            count += len(labels)
    return {f"{split}_loss": float(loss) / count, f"{split}_acc": int(correct) / count, "images": count}


def resolve_precision(precision: Precision) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """What "auto" means on this machine: 16 bit where it is multiplied natively, else float32.

    That is bfloat16 on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX, float16 on GPUs with tensor cores.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed"
        return "16-mixed" if torch.cuda.get_device_capability() >= (7, 0) else "32-true"
    return "bf16-mixed" if _cpu_multiplies_bf16() else "32-true"


def check_compiler() -> None:
    """Raise ConfigError if torch.compile would find no C++ compiler on this machine."""
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++", "c++"])):
        raise ConfigError("--compile needs a C++ compiler and none is installed; install g++ or leave --compile out")


def _cpu_multiplies_bf16() -> bool:
    # Without these instructions bfloat16 is emulated and slower than float32.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def _autocast(precision: Precision, device: str) -> torch.autocast:
    """The arithmetic that validation used during training, so that a checkpoint reproduces its recorded accuracy."""
    chosen = resolve_precision(precision)
    dtype = torch.float16 if chosen == "16-mixed" else torch.bfloat16
    return torch.autocast(device, dtype=dtype, enabled=chosen != "32-true")


def _classifier(config: TrialConfig, num_classes: int, micro_batch: int | None = None) -> Classifier:
    net = build_cnn(config.model, config.data.image_size, num_classes)
    return Classifier(net, config.optim, num_classes, micro_batch)


def _quiet_lightning() -> None:
    """Silence what the user of a search can do nothing about: hardware banners and advice on loaders."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in ("rank_zero", "accelerators.cuda"):
            logging.getLogger(f"{name}.utilities.{part}").setLevel(logging.WARNING)
    # Batches come ready from memory; worker processes would only copy them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Lightning 2.6 asks torch for a class that torch has since renamed.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
