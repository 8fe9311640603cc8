"""The command line of inat.finalize, and the settings of the study as it changes them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.config.validation import positive_errors, raise_if_any
from inat.constants import SEARCH_KIND
from inat.errors import StudyError

KINDS = {kind.KIND: kind for kind in (SearchConfig, FinetuneConfig)}
# Options that take the place of the study's own where they are given: where things are and how much runs at a time.
OVERRIDES = (
    "cache_dir", "weights_dir", "cpus_per_trial", "gpus_per_trial", "max_concurrent", "address", "trial_timeout",
    "debug",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalizeCommand:
    """Retrain the best configurations of a study on several seeds, choose one, test it once, write it with its card."""

    study: tyro.conf.Positional[Path]
    """Study directory."""
    top: int = 3
    """Different configurations to retrain: those with the best validation accuracy in the search."""
    seeds: int = 5
    """Trainings of each configuration, with seeds 1, 2, ..."""
    ship: bool = False
    """Train one more model on training and validation photos together, for use; its accuracy is not measured."""
    licence: str | None = None
    """Terms of use, for the model card. Default: those of the photos apply."""
    data: str | None = None
    """Where the photos are now. Default: where the study found them."""
    cache_dir: Path | None = None
    """Where decoded photographs are kept. Default: where the study kept them."""
    weights_dir: Path | None = None
    """Folder with BACKBONE.pth files. Default: where the study found them."""
    cpus_per_trial: float | None = None
    """CPU cores of a training. Default: as in the search."""
    gpus_per_trial: float | None = None
    """GPUs of a training. Default: as in the search."""
    max_concurrent: int | None = None
    """Most trainings at a time. Default: as in the search."""
    address: str | None = None
    """Ray cluster to use, "auto" for the one this machine belongs to. Default: a private one on this machine."""
    trial_timeout: str | None = None
    """Time without an epoch after which a training counts as hanging and is tried again. Default: as in the search."""
    debug: bool = False
    """Show tracebacks and the libraries' own messages."""

    def __post_init__(self) -> None:
        raise_if_any(positive_errors(self, "top", "seeds"))


def settings_of(info: Mapping[str, Any], command: FinalizeCommand) -> SearchConfig:
    """The settings that a study's trials were trained with, for trainings that nothing stops early but patience.

    ``info`` is the content of study.json. StudyError if it is of another program; ConfigError for impossible options.
    """
    kind = KINDS.get(info.get(SEARCH_KIND, SearchConfig.KIND))
    if kind is None:
        raise StudyError(f"{command.study} is a study of an unknown kind, {info[SEARCH_KIND]!r}; update this program")
    stored = kind.from_json(info["config"])
    changes = {name: value for name in OVERRIDES if (value := getattr(command, name)) is not None}
    if kind is SearchConfig:
        changes.pop("weights_dir", None)
    if command.data is not None:
        changes["data"] = command.data
    return dataclasses.replace(
        stored,
        **{"address": None, **changes},
        # ASHA compares nothing before the last epoch.
        grace_period=stored.max_epochs,
        # What a search does beside its trials, and when it stops, is of no use here.
        time_budget=None, target_accuracy=None, start_from=None, wandb="off", tensorboard=False, resume=None,
    )  # fmt: skip
