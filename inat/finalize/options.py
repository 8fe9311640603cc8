"""The options of inat.finalize, and the study's configuration as these options change it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from inat.config.finetune import FinetuneConfig
from inat.config.resume import check_named, trusted
from inat.config.search import SearchConfig
from inat.config.validation import expanded, positive_errors, raise_if_any
from inat.constants import SEARCH_KIND
from inat.errors import StudyError

KINDS = {kind.KIND: kind for kind in (SearchConfig, FinetuneConfig)}
# Options that replace the study's value if they are given: where files are, and how many runs train at a time.
OVERRIDES = (
    "cache_dir", "weights_dir", "model", "cpus_per_trial", "gpus_per_trial", "max_concurrent", "address",
    "trial_timeout", "debug",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalizeCommand:
    """Retrain a study's best configurations, choose one by the study's metric and test it once."""

    study: tyro.conf.Positional[Path]
    """Study directory."""
    top: int | None = None
    """Number of configurations to retrain: the best of the search by its metric, each counted once. Default: 3, or
    fewer if the study has fewer."""
    seeds: int = 5
    """Number of runs per configuration, with seeds 1, 2, ..."""
    ship: bool = False
    """Also train one model on the training and validation images together. Its accuracy is not measured."""
    ensemble: bool = True
    """Also choose an ensemble of the runs by their mean probabilities on the validation split, and test it once."""
    licence: str | None = None
    """Licence to write into the model card. Default: a note that the photos' own terms apply."""
    data: Annotated[str | None, "FOLDER"] = None
    """Folder of photos. Default: the folder that the study used."""
    cache_dir: Annotated[Path | None, "FOLDER"] = None
    """Folder for decoded images. Needed if the search had this option."""
    weights_dir: Annotated[Path | None, "FOLDER"] = None
    """Folder with BACKBONE.pth files. Needed if the search had this option."""
    model: Annotated[str | None, "FILE[:NAME]"] = None
    """Python file with the network. Needed if the search had this option; its code runs only if you name it."""
    cpus_per_trial: float | None = None
    """CPU cores per run. Default: as in the search."""
    gpus_per_trial: float | None = None
    """Share of a GPU per run: 1, 0.5 for two runs on each GPU, 0 to train on the CPUs. Default: as in the search."""
    max_concurrent: int | None = None
    """Most runs at the same time. Default: as in the search."""
    address: Annotated[str | None, "ADDRESS"] = None
    """Ray cluster to use; auto is the cluster that this machine belongs to. Default: a private one on this machine."""
    trial_timeout: Annotated[str | None, "TIME"] = None
    """Time without a finished epoch after which a run is retried, for example 30m. Default: as in the search."""
    debug: bool = False
    """Show tracebacks and the log messages of libraries."""

    def __post_init__(self) -> None:
        raise_if_any(positive_errors(self, "seeds", *(["top"] if self.top is not None else [])))


def retraining_config(info: Mapping[str, Any], command: FinalizeCommand) -> SearchConfig:
    """The study's configuration, changed so that only ``patience`` can stop a run before its last epoch.

    In a study with a time plan, a run has the epochs of the last training, and nothing stops it. ``info`` is the
    content of study.json. Raises StudyError if its kind of search is unknown or only study.json names a folder to write
    to, ConfigError if an option is invalid.
    """
    kind = KINDS.get(info.get(SEARCH_KIND, SearchConfig.KIND))
    if kind is None:
        raise StudyError(
            f"{command.study} is a study of unknown kind {info[SEARCH_KIND]!r}; a newer version of this program wrote "
            "it, so update this one"
        )
    changes = {name: value for name in OVERRIDES if (value := getattr(command, name)) is not None}
    check_named(command.study, info["config"], changes, ("cache_dir", "weights_dir", "model"))
    stored = trusted(kind.from_json(info["config"]))
    if kind is SearchConfig:
        changes.pop("weights_dir", None)
    if command.data is not None:
        changes["data"] = command.data
    from inat.finalize.planned_epochs import planned_epochs  # loads Ray, which a usage error must not wait for

    planned = planned_epochs(expanded(command.study), info)
    epochs = planned or stored.max_epochs
    return dataclasses.replace(
        stored,
        **{"address": None, **changes},
        # The first rung is the last epoch, so ASHA stops nothing.
        max_epochs=epochs, grace_period=epochs,
        patience=stored.patience if planned is None else max(planned, stored.patience),
        # Its seeds are the repeats, and one model is to be trained on as many images as possible.
        folds=1, repeats=1,
        # These settings end a search or add records to it; a retraining needs none of them.
        time_budget=None, target=None, start_from=None, learn_from=(), wandb="off", tensorboard=False, resume=None,
    )  # fmt: skip
