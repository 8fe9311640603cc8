"""Trained classifiers in files that need nothing but this package."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from inat.config.trial import BackboneConfig, CNNConfig, TrialConfig
from inat.errors import ConfigError, StudyError
from inat.models.backbones import frozen_stage_count
from inat.models.classifier import Classifier, without_frozen
from inat.models.factory import build_network, classifier_of, uninitialised_network
from inat.models.stages import StagedNetwork
from inat.training.epoch_recorder import recorder_of

CONFIG_KEY = "trial_params"  # where a checkpoint keeps the flat TrialConfig
CLASSES_KEY = "classes"
STATE_KEY = "state_dict"
FROZEN_KEY = "frozen_weights"  # which weights the frozen stages have if they are left out, "" if nothing is


def portable_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """What it takes to rebuild the classifier as it is now: weights, configuration, class names and the epoch's row.

    Where the weights are averaged, it is the average. Frozen stages of a backbone, up to half a gigabyte, are left out:
    it is noted which weights they have.
    """
    recorder, classifier = recorder_of(trainer), trainer.lightning_module
    assert isinstance(classifier, Classifier)
    net = classifier.net
    weights = net.weights if isinstance(net, StagedNetwork) and freezes(recorder.config.model) else ""
    return {
        CONFIG_KEY: recorder.config.to_params(),
        CLASSES_KEY: list(recorder.classes),
        "row": recorder.row,
        FROZEN_KEY: weights,
        STATE_KEY: without_frozen(classifier.trained_state(), net),
    }


class DirectCheckpointIO(TorchCheckpointIO):
    """Has a trainer write its checkpoints where it is told to.

    Lightning's own go through $TMPDIR: maybe another, smaller disk, on which killed processes leave whole checkpoints.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        torch.save(checkpoint, path)


def is_intact(path: Path) -> bool:
    """Whether a checkpoint is as it was written, by the check sums in it; torch itself does not compare them."""
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged directory of the archive raises whatever its wrong numbers lead to
        return False


def freezes(model: CNNConfig | BackboneConfig) -> bool:
    """Whether some stages of the network do not train."""
    return isinstance(model, BackboneConfig) and frozen_stage_count(model.backbone, model.strategy, model.k_layers) > 0


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A trained classifier with the configuration and class names stored beside its weights."""

    classifier: Classifier
    config: TrialConfig
    classes: tuple[str, ...]


def load_checkpoint(path: Path) -> LoadedCheckpoint:
    """Rebuild the classifier of a checkpoint that a trial wrote.

    StudyError if it is missing or not one of ours, and if its frozen stages are left out and their weights are not on
    this machine.
    """
    return _rebuilt(_read(path), path)


def _read(path: Path) -> dict[str, Any]:
    with _told(path):
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return {key: checkpoint[key] for key in (CONFIG_KEY, CLASSES_KEY, STATE_KEY)} | checkpoint


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StudyError(f"no checkpoint {path}; has its trial finished an epoch?") from error
    except (UnpicklingError, KeyError, TypeError, RuntimeError, ConfigError, ValueError, OSError, EOFError) as error:
        reason = str(error).split("\n")[0]
        raise StudyError(f"{path} is not a checkpoint of this program ({reason}); pass a best.ckpt") from error


def _rebuilt(checkpoint: Mapping[str, Any], path: Path) -> LoadedCheckpoint:
    with _told(path):
        config, classes = TrialConfig.from_params(checkpoint[CONFIG_KEY]), tuple(checkpoint[CLASSES_KEY])
    net = _network(config, len(classes), checkpoint.get(FROZEN_KEY, ""), path)
    with _told(path):
        classifier = classifier_of(config, net, len(classes))
        known = classifier.state_dict()
        left_out = known.keys() - without_frozen(known, net).keys() if checkpoint.get(FROZEN_KEY) else ()
        classifier.load_state_dict({key: known[key] for key in left_out} | checkpoint[STATE_KEY])
    return LoadedCheckpoint(classifier.eval(), config, classes)


def _network(config: TrialConfig, num_classes: int, frozen_weights: str, path: Path) -> nn.Module:
    """The network that the state goes into: with its frozen stages, or empty if the state has all of it."""
    model = config.model
    if isinstance(model, CNNConfig):
        return build_network(config, num_classes)
    if not frozen_weights:
        return uninitialised_network(model, config.data.image_size, num_classes)
    lacking = f"{path} lacks the frozen stages of {model.backbone}"
    try:
        net = build_network(config, num_classes)
    except ConfigError as error:
        raise StudyError(f"{lacking}: {error}") from error
    if net.weights != frozen_weights:
        raise StudyError(
            f"{lacking}, which came from weights with SHA-256 {frozen_weights}, and those of --weights-dir have "
            f"{net.weights}; bring the former, or pass the best.ckpt of its study, which has all"
        )
    return net


def complete_checkpoint(source: Path, target: Path, weights_dir: str | None = None) -> None:
    """Write a checkpoint as one that needs no other weights; StudyError as ``load_checkpoint`` raises it.

    ``weights_dir`` says where the weights are now, if not where the trial found them.
    """
    checkpoint = _read(source)
    if weights_dir is not None:
        checkpoint[CONFIG_KEY] |= {"weights_dir": weights_dir}
    if checkpoint.get(FROZEN_KEY):
        state = _rebuilt(checkpoint, source).classifier.state_dict()
        checkpoint |= {FROZEN_KEY: "", STATE_KEY: state}
    torch.save(checkpoint, target)
