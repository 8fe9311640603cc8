"""Trained classifiers in files that need nothing but this package."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from inat.config import NO_WEIGHTS, BackboneConfig, TrialConfig
from inat.epochs import recorder_of
from inat.errors import ConfigError, StudyError
from inat.models.build import build_classifier, weights_of
from inat.models.classifier import Classifier

CONFIG_KEY = "trial_params"  # where a checkpoint keeps the flat TrialConfig
CLASSES_KEY = "classes"
BODY_KEY = "frozen_weights"  # a hash of the weights whose frozen stages are left out
COMPLETE = "all here"


def portable_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """What it takes to rebuild the classifier as it is now: weights, configuration, class names and the epoch's row.

    Frozen stages of a backbone are left out: they are those of the published weights, whose hash is noted.
    """
    recorder, classifier = recorder_of(trainer), trainer.lightning_module
    model = recorder.config.model
    return {
        CONFIG_KEY: recorder.config.to_params(),
        CLASSES_KEY: list(recorder.classes),
        "row": recorder.row,
        BODY_KEY: weights_of(model) if isinstance(model, BackboneConfig) else "",
        "state_dict": without_frozen(classifier.state_dict(), classifier.net),
    }


def without_frozen(state: Mapping[str, Tensor], net: Any) -> dict[str, Tensor]:
    """A classifier's state without the stages of ``net`` that do not train."""
    stages = [name for name, _ in net.named_children()][: getattr(net, "frozen", 0)]
    return {key: tensor for key, tensor in state.items() if not key.startswith(tuple(f"net.{s}." for s in stages))}


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
        classifier = _rebuilt(config, len(classes), checkpoint)
    except FileNotFoundError as error:
        raise StudyError(f"no checkpoint {path}; has its trial finished an epoch?") from error
    except (UnpicklingError, KeyError, RuntimeError, ConfigError, ValueError, OSError, EOFError) as error:
        reason = str(error).split("\n")[0]
        raise StudyError(f"{path} is not a checkpoint of this program ({reason}); pass a best.ckpt") from error
    return Loaded(classifier.eval(), config, classes)


def _rebuilt(config: TrialConfig, num_classes: int, checkpoint: Mapping[str, Any]) -> Classifier:
    state = checkpoint["state_dict"]
    if isinstance(config.model, BackboneConfig) and checkpoint.get(BODY_KEY) == COMPLETE:
        config = replace(config, model=replace(config.model, weights=NO_WEIGHTS))  # all of them are in the file
    elif isinstance(config.model, BackboneConfig) and weights_of(config.model) != checkpoint[BODY_KEY]:
        raise ConfigError(f"the weights of {config.model.backbone} are not those it was trained with")
    classifier = build_classifier(config, num_classes)
    known = classifier.state_dict()
    frozen = known.keys() - without_frozen(known, classifier.net).keys()
    classifier.load_state_dict({key: known[key] for key in frozen} | state)
    return classifier


def complete_checkpoint(source: Path, target: Path) -> None:
    """Write a checkpoint as one that needs no other weights; StudyError as ``load_checkpoint`` raises it."""
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    if isinstance(TrialConfig.from_params(checkpoint[CONFIG_KEY]).model, BackboneConfig):
        loaded = load_checkpoint(source)
        checkpoint |= {BODY_KEY: COMPLETE, "state_dict": loaded.classifier.state_dict()}
    torch.save(checkpoint, target)
