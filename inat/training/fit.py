"""Train one network, without Ray: a TrialConfig in, metrics out."""

import gc
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from inat.config.trial import TrialConfig
from inat.constants import EPOCH, EPOCHS, MICRO_BATCH, NOTE, TRAINABLE
from inat.data.class_balance import class_weights, count
from inat.data.resident import drop_copies
from inat.device import free_cached, kind, this_device
from inat.models.factory import build_classifier
from inat.training.checkpoint import DirectCheckpointIO
from inat.training.compiling import compile_network
from inat.training.epoch_recorder import EpochRecorder, Place
from inat.training.gpu_checks import skip_gpu_checks
from inat.training.inputs import TrainingInputs, prepare_inputs
from inat.training.memory import as_out_of_memory, is_out_of_memory, keep_freed_memory, refusals
from inat.training.pace import Pace
from inat.training.precision import resolve_precision, use_tensor_cores
from inat.training.resume import discard_unusable
from inat.training.retries import Economy, has_stages_to_checkpoint

# Lightning's loggers that announce the devices of every training.
LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
)
# Lightning's warnings on what is on purpose here: loaders without workers, as batches come ready from memory; trainings
# without Slurm's srun on a machine that has it; frozen stages in eval mode; a torch class that Lightning 2.6 uses under
# its old name; trials without a share of a GPU.
WARNINGS = (
    ".*does not have many workers.*",
    ".*`srun` command is available.*",
    ".*in eval mode at the start of training.*",
    ".*LeafSpec.* is deprecated.*",
    ".*GPU available but not used.*",
)


def fit(
    config: TrialConfig,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume_from: Path | None = None,
    known_epochs: int | None = None,
    heartbeat: Callable[[], None] = lambda: None,
    place: Place | None = None,
    note: str = "",
    pace: Pace | None = None,
) -> dict[str, Any]:
    """Train one network with ``config``; returns the metrics of the last epoch with the best value and ``epochs``.

    ``callbacks`` run after the EpochRecorder, which ``recorder_of(trainer)`` returns. ``resume_from`` is a Lightning
    checkpoint; if the file exists, training continues after its epoch. A damaged file, and a file of another
    configuration, is removed, and training starts with the first epoch. ``known_epochs``: see ``discard_unusable``.
    ``heartbeat`` is called regularly before the first epoch, while features are computed or waited for. ``place``: see
    EpochRecorder. ``note`` is for the user; it comes with the metrics. With a ``pace``, the training ends in time, and
    its schedule with it, after fewer than ``max_epochs`` if necessary.

    If the device has too little memory, training starts again, from the same checkpoint: first a GPU holds no images.
    Then the stages of a network that has some compute their activations again for the backward pass; a note says both.
    At last, batches are cut into micro-batches of half the size, whose gradients add up to those of the whole batch;
    ``micro_batch`` in the metrics is their size. If even single images are too large, the out-of-memory error of the
    device is raised.

    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 16, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2,
    ... }
    >>> metrics = fit(TrialConfig.from_params(params))
    >>> metrics["epochs"], metrics["best_val_acc"] > 0.5
    (2, True)
    >>> sorted(metrics)
    ['best_val_acc', 'epoch', 'epochs', 'finished', 'seconds', 'train_acc', 'train_loss', 'trainable_parameters',
     'val_acc', 'val_balanced_acc', 'val_loss', 'val_macro_f1', 'val_top2_acc']
    """
    silence_lightning()
    skip_gpu_checks()
    keep_freed_memory()
    if resume_from is not None:
        note = discard_unusable(resume_from, config, known_epochs) or note
    batch_size = config.optim.batch_size
    economy = Economy(batch_size, micro_batch=batch_size if config.optim.accumulate > 1 else None)
    while True:
        before = refusals()
        try:
            checkpoint = resume_from if resume_from is not None and resume_from.exists() else None
            return _fit(config, prepare_inputs(config, heartbeat), callbacks, checkpoint, economy, note, place, pace)
        except (RuntimeError, MemoryError) as error:  # CUDA and torch's CPU allocator raise RuntimeErrors
            if not is_out_of_memory(error, refused=refusals() > before):
                raise
            if not economy.save_more():
                known = as_out_of_memory(error)
                raise known from (None if known is error else error)
        # Outside the handler, as its traceback holds the tensors of the failed step.
        gc.collect()
        free_cached(this_device())


def _fit(
    config: TrialConfig,
    inputs: TrainingInputs,
    callbacks: Sequence[pl.Callback],
    resume_from: Path | None,
    economy: Economy,
    note: str,
    place: Place | None,
    pace: Pace | None,
) -> dict[str, Any]:
    classes = inputs.data.classes
    weights = class_weights(config.optim.class_weights, count(inputs.data.train_labels, len(classes)))
    classifier = build_classifier(
        config, len(classes), net=inputs.net, micro_batch=economy.micro_batch, class_weights=weights
    )
    economy.can_send = kind() == "cuda"
    if economy.sends:
        inputs.data.holds = False
        drop_copies()
    economy.can_checkpoint = has_stages_to_checkpoint(inputs.net)
    if economy.checkpointed:
        classifier.net.checkpointed = True  # type: ignore[assignment]  # StagedNetwork's property
    classifier.share_at = pace.share_at if pace else None
    # 1.25 times as fast as channels first on CPUs; tensor cores need this layout, too.
    classifier = classifier.to(memory_format=torch.channels_last)
    recorder = EpochRecorder(config, classes, _constant_columns(inputs, economy, note), place, pace)
    # Parts of a batch, and the last batch of an epoch, have other sizes; cuDNN then searches once for each.
    trainer = trainer_for(config, [recorder, *callbacks], benchmark=economy.micro_batch is None)
    use_tensor_cores(trainer.strategy.root_device)
    if config.compile:
        compile_network(classifier.net, config, trainer.strategy.root_device.type, whole=economy.micro_batch is None)
    trainer.fit(classifier, datamodule=inputs.data, ckpt_path=resume_from, weights_only=True)
    return recorder.row | {EPOCHS: recorder.row.get(EPOCH, 0)}


def trainer_for(config: TrialConfig, callbacks: Sequence[pl.Callback], **limits: Any) -> pl.Trainer:
    """The trainer of a trial, which prints and writes nothing by itself; ``limits`` are options of Lightning.

    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2,
    ... }
    >>> trainer_for(TrialConfig.from_params(params), [], limit_train_batches=3).max_epochs
    2
    """
    return pl.Trainer(
        max_epochs=config.max_epochs,
        precision=resolve_precision(config.precision),
        accelerator=kind(),
        devices=1,
        callbacks=list(callbacks),
        # A trial is one process, whatever started the search. Without this plugin, Lightning obeys the variables of
        # Slurm, MPI, LSF and torchelastic: it fails where --ntasks is 4, and requeues the job at SIGUSR1.
        plugins=[DirectCheckpointIO(), LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **limits,
    )


def _constant_columns(inputs: TrainingInputs, economy: Economy, note: str) -> dict[str, Any]:
    """Columns that have the same value in the row of every epoch."""
    trainable = sum(parameter.numel() for parameter in inputs.net.parameters() if parameter.requires_grad)
    columns: dict[str, Any] = {TRAINABLE: trainable}
    if notes := [text for text in (inputs.note, note, economy.note) if text]:
        columns[NOTE] = "; ".join(notes)
    if economy.parts is not None:
        columns[MICRO_BATCH] = economy.parts
    return columns


def silence_lightning() -> None:
    """Hide messages that the user of a search cannot act on.

    >>> silence_lightning()
    """
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
