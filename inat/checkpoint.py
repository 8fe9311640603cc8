"""Trained classifiers in files that need nothing but this package."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch

from inat.config import TrialConfig
from inat.epochs import recorder_of
from inat.errors import ConfigError, StudyError
from inat.models.build import build_classifier
from inat.models.classifier import Classifier

CONFIG_KEY = "trial_params"  # where a checkpoint keeps the flat TrialConfig
CLASSES_KEY = "classes"


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
        classifier = build_classifier(config, len(classes))
        classifier.load_state_dict(checkpoint["state_dict"])
    except FileNotFoundError as error:
        raise StudyError(f"no checkpoint {path}; has its trial finished an epoch?") from error
    except (UnpicklingError, KeyError, RuntimeError, ConfigError, ValueError, OSError, EOFError) as error:
        reason = str(error).split("\n")[0]
        raise StudyError(f"{path} is not a checkpoint of this program ({reason}); pass a best.ckpt") from error
    return Loaded(classifier.eval(), config, classes)
