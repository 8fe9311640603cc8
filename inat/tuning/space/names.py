"""Which names the hyperparameters of a trial can have: nobody else's study changes what the program runs, or where."""

from collections.abc import Iterable
from typing import Final

from inat.config.own_model import MODEL, MODEL_SHA256
from inat.config.search import SearchConfig
from inat.constants import TRIAL_ID
from inat.tuning.rules import FEATURE_RULES, PRECISION_RULE
from inat.tuning.worker.trainable import (
    DRIVER_NODE,
    ENDS,
    EXPECTED_SECONDS,
    FINGERPRINT,
    KNOWN_EPOCHS,
    LENGTH,
    MODEL_FILE,
    REPEATS,
    RUNGS,
    SEED,
    STUDY_DIR,
    THRESHOLD,
    TIMEOUT,
    WEIGHTS_SHA256,
)

# Settings that the search gives to each trial. In a space they would be recorded, but not used; or, as those of the
# file with a network, they would make a trial run the code of whoever wrote the study.
SET_BY_SEARCH: Final = frozenset({
    TRIAL_ID, SEED, FINGERPRINT, REPEATS, RUNGS, STUDY_DIR, THRESHOLD, TIMEOUT, "image_size", KNOWN_EPOCHS, DRIVER_NODE,
    MODEL, MODEL_SHA256, MODEL_FILE, WEIGHTS_SHA256, PRECISION_RULE, FEATURE_RULES, ENDS, EXPECTED_SECONDS,
    LENGTH,
})  # fmt: skip
# What a source of trials adds to the hyperparameters of each.
ADDED: Final = frozenset({TRIAL_ID, SEED, THRESHOLD, KNOWN_EPOCHS, LENGTH})
# A setting of fine-tuning that a space may contain; in studies of earlier versions beside a value of the option.
IN_BOTH: Final = "body_lr_factor"


def hyperparameters(space: Iterable[str], config: SearchConfig) -> frozenset[str]:
    """The names in ``space`` that can be hyperparameters of the trials of ``config``: no settings that they share."""
    settings = config.trial_settings().keys() - {IN_BOTH}
    return frozenset(space) - settings - SET_BY_SEARCH
