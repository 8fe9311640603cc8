"""One training, with no Ray: a TrialConfig in, metrics out."""

import gc
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from inat.config.trial import TrialConfig
from inat.constants import EPOCHS, MICRO_BATCH, NOTE, TRAINABLE
from inat.models.factory import classifier_of
from inat.training.checkpoint import DirectCheckpointIO, is_intact
from inat.training.epoch_recorder import EpochRecorder
from inat.training.inputs import Prepared, prepare
from inat.training.memory import keep_freed_memory
from inat.training.precision import check_compiler, is_out_of_memory, resolve_precision


def fit(
    config: TrialConfig,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume_from: Path | None = None,
    heartbeat: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Train as ``config`` says and return the last epoch's metrics with ``best_val_acc`` and ``epochs``.

    ``callbacks`` run after the recorder, which they find with ``recorder_of(trainer)``. ``resume_from`` is a full
    checkpoint of the same configuration; training goes on behind its epoch if it exists. If it is damaged it is
    removed, and training starts from the first epoch. Where the device has too little memory, training starts again,
    from that checkpoint, in micro-batches of half the size whose gradients add up to the same batch; their size stands
    in the metrics as ``micro_batch``. If even single images are too large, the device's out-of-memory error is raised.
    ``heartbeat`` is called again and again while features are built or waited for, before the first epoch.
    """
    _quiet_lightning()
    keep_freed_memory()
    note = _remove_if_damaged(resume_from)
    micro_batch = None
    while True:
        try:
            checkpoint = resume_from if resume_from is not None and resume_from.exists() else None
            return _fit(config, prepare(config, heartbeat), callbacks, checkpoint, micro_batch, note)
        except (RuntimeError, MemoryError) as error:  # RuntimeErrors are what CUDA, and torch's CPU allocator, raise
            if not is_out_of_memory(error) or micro_batch == 1:
                raise
        # Out of the handler, which holds the failed step's tensors through its traceback.
        gc.collect()
        torch.cuda.empty_cache()
        micro_batch = ((micro_batch or config.optim.batch_size) + 1) // 2


def _remove_if_damaged(checkpoint: Path | None) -> str:
    """What there is to say of it: a file that no attempt can read would make the trial fail for good."""
    if checkpoint is None or not checkpoint.exists() or is_intact(checkpoint):
        return ""
    checkpoint.unlink()
    return f"{checkpoint.name} was damaged: started again from the first epoch"


def _fit(
    config: TrialConfig,
    prepared: Prepared,
    callbacks: Sequence[pl.Callback],
    resume_from: Path | None,
    micro_batch: int | None,
    note: str,
) -> dict[str, Any]:
    classes = prepared.data.classes
    # 1.25 times as fast as channels first on CPUs, and what tensor cores want.
    classifier = classifier_of(config, prepared.net, len(classes), micro_batch).to(memory_format=torch.channels_last)
    recorder = EpochRecorder(config, classes, _remarks(prepared, micro_batch, note))
    trainer = pl.Trainer(
        max_epochs=config.max_epochs,
        precision=resolve_precision(config.precision),
        accelerator="auto",
        devices=1,
        callbacks=[recorder, *callbacks],
        plugins=[DirectCheckpointIO()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    if config.compile:
        check_compiler()
        torch.compiler.reset()  # a process compiles only a few networks before it gives up
        classifier.net.compile()
    trainer.fit(classifier, datamodule=prepared.data, ckpt_path=resume_from, weights_only=True)
    return recorder.row | {EPOCHS: recorder.epoch}


def _remarks(prepared: Prepared, micro_batch: int | None, note: str) -> dict[str, Any]:
    """What every epoch's row says of the training as a whole."""
    trainable = sum(parameter.numel() for parameter in prepared.net.parameters() if parameter.requires_grad)
    remarks: dict[str, Any] = {TRAINABLE: trainable}
    if notes := [text for text in (prepared.note, note) if text]:
        remarks[NOTE] = "; ".join(notes)
    if micro_batch is not None:
        remarks[MICRO_BATCH] = micro_batch
    return remarks


def _quiet_lightning() -> None:
    """Silence what the user of a search can do nothing about: hardware banners and advice on loaders."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in ("rank_zero", "accelerators.cuda"):
            logging.getLogger(f"{name}.utilities.{part}").setLevel(logging.WARNING)
    # Batches come ready from memory; worker processes would only copy them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Frozen stages are meant to stay in eval mode.
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    # Lightning 2.6 asks torch for a class that torch has since renamed.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
