"""Probe one backbone: its features of all images, then nearest neighbours and an exact linear probe on them."""

import dataclasses
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inat.config.backbones import FREEZE_ALL
from inat.config.finetune import FinetuneConfig
from inat.config.optim import BALANCED
from inat.config.trial import TrialConfig
from inat.data.class_balance import class_weights, count
from inat.data.datamodule import Features
from inat.data.disk import check_space
from inat.data.loader import as_tensor
from inat.data.splits import Splits, load_splits
from inat.device import this_device
from inat.errors import DataError
from inat.models.frozen_features import open_features, plan_features
from inat.models.probe import fit_probe, neighbour_votes
from inat.models.stages import StagedNetwork
from inat.training.precision import autocast
from inat.tuning.racing.scores import as_logits, interval_of, value_of
from inat.tuning.stopwatch import now

TIMED, PASSES = 8, 3  # images whose forward pass is timed, and how often


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backbone that may be probed; ``seconds`` is the predicted time of those of its features that are missing."""

    backbone: str
    image_size: int
    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Probe:
    """What the features of one backbone tell: values of the study's metric on the validation images.

    ``probe_low`` and ``probe_high`` are the 95 % interval of the linear probe. ``feature_seconds`` is None if the
    features were in the cache.
    """

    backbone: str
    image_size: int
    parameters: int
    nearest_neighbours: float
    linear_probe: float
    probe_low: float
    probe_high: float
    penalty: float
    feature_seconds: float | None
    solve_seconds: float

    def row(self) -> dict[str, Any]:
        """The columns of backbones.csv."""
        return dataclasses.asdict(self)


def probe_config(config: FinetuneConfig, backbone: str) -> TrialConfig:
    """The trial of ``config`` that trains the head of ``backbone`` on images as they are; folds are left out."""
    # The learning rate and the size of a batch decide nothing here: the head is solved, not trained.
    own = {
        "backbone": backbone, "strategy": FREEZE_ALL, "use_augmentation": False, "views": max(1, config.views),
        "learning_rate": config.learning_rates[0], "batch_size": config.batch_sizes[0],
    }  # fmt: skip
    return TrialConfig.from_params(replace(config, folds=1, repeats=1).trial_settings() | own)


def time_candidate(config: FinetuneConfig, backbone: str) -> Candidate:
    """Load a backbone and time it on a few images; images of its size are decoded.

    Raises ConfigError, for example if there are no weights.
    """
    trial = probe_config(config, backbone)
    size = trial.data.image_size
    plan = plan_features(trial)
    assert plan is not None, "freeze_all freezes stages"
    parameters = sum(parameter.numel() for parameter in plan.network.parameters())
    images = plan.missing_bytes // plan.image_bytes
    seconds = _seconds_per_image(plan.network.prefix(), size, trial) if images else 0.0
    return Candidate(backbone, size, parameters, images * seconds)


def _seconds_per_image(prefix: StagedNetwork, size: int, trial: TrialConfig) -> float:
    device = this_device()
    pixels = torch.rand(TIMED, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    prefix.to(device)
    try:
        with torch.inference_mode(), autocast(trial.precision, device.type):
            prefix(pixels[:1])  # a warm-up
            return statistics.median(_seconds_of(prefix, pixels) for _ in range(PASSES)) / TIMED
    finally:
        prefix.cpu()  # the trials of this process share these modules


def _seconds_of(prefix: StagedNetwork, pixels: Tensor) -> float:
    started = now(pixels.device.type)
    prefix(pixels)
    return now(pixels.device.type) - started


def probe(config: FinetuneConfig, candidate: Candidate) -> Probe:
    """Compute the features of a backbone, unless the cache has them, and judge them.

    Raises ConfigError or DataError if that is impossible, for example if the disk of the cache is too small.
    """
    trial = probe_config(config, candidate.backbone)
    splits = load_splits(trial.data)  # decodes images, which is no part of this backbone's time
    started = time.perf_counter()
    plan = plan_features(trial)
    assert plan is not None, "freeze_all freezes stages"
    missing, name = plan.missing_bytes, candidate.backbone
    check_space(plan.directory, missing, f"probing {name}", "free some space, or pass --cache-dir on a larger disk")
    train, val = open_features(plan)
    features, labels = vectors_of(train)
    val_features, val_labels = vectors_of(val)
    feature_seconds = time.perf_counter() - started
    started = time.perf_counter()
    weights = probe_weights(config, splits)
    linear = fit_probe(features, labels, len(splits.classes), weights)
    logits, objective = linear(val_features), config.objective
    votes = neighbour_votes(features, labels, val_features, len(splits.classes))
    low, high = interval_of(objective, logits, val_labels)
    return Probe(
        name, candidate.image_size, candidate.parameters, value_of(objective, as_logits(votes), val_labels),
        value_of(objective, logits, val_labels), low, high, linear.penalty, feature_seconds if missing else None,
        time.perf_counter() - started,
    )  # fmt: skip


def check_classes(splits: Splits) -> None:
    """Raise DataError if the validation images cannot tell backbones apart."""
    if not len(splits.val):
        raise DataError("there are no validation photos to judge backbones on; add photos to the smallest classes")
    if len(count(splits.val.labels[splits.val.rows], len(splits.classes)).nonzero()[0]) < 2:
        raise DataError(
            "the validation photos are all of one class, so every backbone would seem perfect; give more classes "
            "validation photos"
        )


def probe_weights(config: FinetuneConfig, splits: Splits) -> list[float] | None:
    """The weights of the classes in the probe's loss: those of the trials; a balanced sampler counts as balanced."""
    method = BALANCED if config.balanced_sampler else config.class_weights
    return class_weights(method, count(splits.train.labels[splits.train.rows], len(splits.classes)))


def vectors_of(features: Features) -> tuple[Tensor, Tensor]:
    """Features (N, D) float32 and labels (N,) on the device; of maps and tokens, the mean over positions."""
    store = features.views[0]
    rows = as_tensor(store.rows).view(getattr(torch, store.dtype))
    rows = rows if features.rows is None else rows[torch.from_numpy(features.rows)]
    # The probe is solved in float64, which Apple's GPUs do not have.
    device = this_device()
    vectors = rows.to("cpu" if device.type == "mps" else device).float()
    if vectors.ndim > 2:
        vectors = vectors.flatten(1, -2).mean(1)
    return vectors, torch.from_numpy(features.labels).to(vectors.device)
