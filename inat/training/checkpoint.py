"""Checkpoints of trained classifiers, which need nothing but this package to be read.

A checkpoint contains the configuration of its training, so the network can be rebuilt. It leaves out the frozen stages
of a backbone, up to half a gigabyte, unless ``complete_checkpoint`` has added them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from inat.config.backbones import FREEZE_ALL, FREEZE_PARTIAL, BackboneConfig
from inat.config.own_model import OwnModelConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.trial import TrialConfig
from inat.errors import ConfigError, StudyError
from inat.models.adapters import merge_updates
from inat.models.backbones import frozen_stage_count
from inat.models.classifier import Classifier, without_frozen_stages
from inat.models.factory import build_classifier, build_network, uninitialised_network
from inat.models.stages import StagedNetwork
from inat.study.archive import check_archive
from inat.study.checkpoint_file import is_intact
from inat.training.checkpoint_limits import check_contents
from inat.training.epoch_recorder import recorder_of

CONFIG_KEY = "trial_params"  # the flat parameters of the TrialConfig
CLASSES_KEY = "classes"
STATE_KEY = "state_dict"
FROZEN_KEY = "frozen_weights"  # identifies the weights of the frozen stages if they are left out, else ""


def portable_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """The current classifier as a checkpoint: weights, configuration, class names and the row of the last epoch.

    If the weights are averaged, the checkpoint contains the average. If frozen stages are left out, it identifies their
    weights.

    >>> class KeepBest(pl.Callback):
    ...     def on_train_epoch_end(self, trainer, pl_module):
    ...         if recorder_of(trainer).improved:
    ...             torch.save(portable_checkpoint(trainer), "best.ckpt")
    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 1,
    ... }
    >>> from inat.training.fit import fit
    >>> metrics = fit(TrialConfig.from_params(params), [KeepBest()])
    >>> load_checkpoint(Path("best.ckpt")).config.max_epochs
    1
    """
    recorder, classifier = recorder_of(trainer), trainer.lightning_module
    assert isinstance(classifier, Classifier)
    net = classifier.net
    weights = net.weights if isinstance(net, StagedNetwork) and has_frozen_stages(recorder.config.model) else ""
    return {
        CONFIG_KEY: recorder.config.to_params(),
        CLASSES_KEY: list(recorder.classes),
        "row": recorder.row,
        FROZEN_KEY: weights,
        # On the CPU: a plain torch.load would put tensors of a GPU on a GPU, or fail without one.
        STATE_KEY: {name: t.cpu() for name, t in without_frozen_stages(classifier.trained_state(), net).items()},
    }


class DirectCheckpointIO(TorchCheckpointIO):
    """Makes a trainer write its checkpoints directly to their path.

    Lightning would write them to $TMPDIR first. That may be a smaller disk, on which killed processes leave whole
    checkpoints.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        torch.save(checkpoint, path)


def has_frozen_stages(model: ScratchNetwork | BackboneConfig | OwnModelConfig) -> bool:
    """Whether some stages of the network do not train.

    >>> has_frozen_stages(BackboneConfig(backbone="resnet50", strategy="freeze_all"))
    True
    """
    if isinstance(model, OwnModelConfig):
        return model.strategy in (FREEZE_ALL, FREEZE_PARTIAL)
    return isinstance(model, BackboneConfig) and frozen_stage_count(model.backbone, model.strategy, model.k_layers) > 0


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A trained classifier in eval mode, with the configuration and class names stored in its checkpoint."""

    classifier: Classifier
    config: TrialConfig
    classes: tuple[str, ...]


def load_checkpoint(path: Path) -> LoadedCheckpoint:
    """Rebuild the classifier of a checkpoint that a trial has written.

    Raises StudyError if the file is missing or no such checkpoint, or if its frozen stages were left out and their
    weights are not on this node.

    >>> loaded = load_checkpoint(Path("study/best.ckpt"))
    >>> loaded.config.data.image_size, loaded.classes[:3]
    (16, ('0', '1', '2'))
    >>> loaded.classifier(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 10])
    """
    return _rebuild(_read(path), path)


def complete_checkpoint(source: Path, target: Path, weights_dir: str | None = None) -> None:
    """Write the checkpoint ``source`` to ``target`` with its frozen stages; raises StudyError like load_checkpoint.

    ``weights_dir`` is the folder of the published weights, if it has changed since the training.

    >>> complete_checkpoint(Path("study/best.ckpt"), Path("complete.ckpt"))
    >>> load_checkpoint(Path("complete.ckpt")).classes == load_checkpoint(Path("study/best.ckpt")).classes
    True
    """
    checkpoint = _read(source)
    if weights_dir is not None:
        checkpoint[CONFIG_KEY] |= {"weights_dir": weights_dir}
    if checkpoint.get(FROZEN_KEY):
        state = _rebuild(checkpoint, source).classifier.state_dict()
        checkpoint |= {FROZEN_KEY: "", STATE_KEY: state}
    torch.save(checkpoint, target)


def _read(path: Path) -> dict[str, Any]:
    with _as_study_error(path):
        check_archive(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint = {key: checkpoint[key] for key in (CONFIG_KEY, CLASSES_KEY, STATE_KEY)} | checkpoint
    if not is_intact(path):  # torch does not compare the checksums
        raise StudyError(f"{path} is damaged: its checksums differ; restore it from a copy")
    return checkpoint


@contextmanager
def _as_study_error(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StudyError(f"no checkpoint {path}; has its trial finished an epoch?") from error
    except StudyError:
        raise
    except UnpicklingError as error:  # torch's text advises to run the code that the file may contain
        raise StudyError(f"{path} is not a checkpoint of this program; pass a best.ckpt") from error
    except Exception as error:  # hostile bytes can raise any exception
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        raise StudyError(f"{path} is not a checkpoint of this program ({reason}); pass a best.ckpt") from error


def _rebuild(checkpoint: Mapping[str, Any], path: Path) -> LoadedCheckpoint:
    with _as_study_error(path):
        config, classes = TrialConfig.from_params(checkpoint[CONFIG_KEY]), tuple(checkpoint[CLASSES_KEY])
        check_contents(config, classes, checkpoint[STATE_KEY], path.stat().st_size)
    net = _network(config, len(classes), checkpoint.get(FROZEN_KEY, ""), path)
    with _as_study_error(path):
        classifier = build_classifier(config, len(classes), net=net)
        own = classifier.state_dict()
        left_out = own.keys() - without_frozen_stages(own, net).keys() if checkpoint.get(FROZEN_KEY) else ()
        classifier.load_state_dict({key: own[key] for key in left_out} | checkpoint[STATE_KEY])
    merge_updates(net)
    return LoadedCheckpoint(classifier.eval(), config, classes)


def _network(config: TrialConfig, num_classes: int, frozen_weights: str, path: Path) -> nn.Module:
    """The network to load the state into: with its frozen stages, or uninitialised if the state is complete."""
    model = config.model
    if isinstance(model, ScratchNetwork):
        return build_network(config, num_classes)
    if isinstance(model, OwnModelConfig):
        return _own_network(config, num_classes, frozen_weights, path)
    if not frozen_weights:
        return uninitialised_network(model, config.data.image_size, num_classes)
    lacks = f"{path} lacks the frozen stages of {model.backbone}"
    try:
        net = build_network(config, num_classes)
    except ConfigError as error:
        raise StudyError(f"{lacks}: {error}") from error
    if net.weights != frozen_weights:
        raise StudyError(
            f"{lacks}, which came from weights with SHA-256 {frozen_weights}, but the weights in --weights-dir have "
            f"{net.weights}; restore the former weights, or pass the best.ckpt of the study, which is complete"
        )
    return net


def _own_network(config: TrialConfig, num_classes: int, frozen_weights: str, path: Path) -> nn.Module:
    try:
        net = build_network(config, num_classes)
    except ConfigError as error:
        raise StudyError(f"{path} cannot be loaded: {error}") from error
    if frozen_weights and net.weights != frozen_weights:
        raise StudyError(
            f"{path} lacks the frozen stages of its network, and those that its function builds now have other values; "
            "restore the weights that it loads, or pass the best.ckpt of the study, which is complete"
        )
    return net
