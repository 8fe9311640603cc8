"""The options of a search as one frozen dataclass, and which of them may change when a search is resumed."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from inat.config.trial import DataConfig, Precision
from inat.config.validation import (
    expanded,
    non_negative_errors,
    positive_errors,
    raise_if_any,
    type_errors,
    unknown_name_error,
)
from inat.constants import CACHE_DIR, DIGITS

# Options that study.json stores as text.
PATHS = ("storage_path", "cache_dir", "resume", "start_from", "augment_preview", "weights_dir")
AUTO = "auto"
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SMALL_IMAGE = 32  # px; up to this side --space auto means the small space


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeOption:
    """The option that is read first: with --resume, the study supplies the defaults of all other options."""

    resume: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """The options of a search. The string below a field is the help text of its option."""

    KIND: ClassVar[str] = "scratch"  # stored in study.json; default study names start with it
    PRESETS: ClassVar[tuple[str, ...]] = ("full", "small", "modern")  # values of --space besides auto and a file
    OPTION_GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "data": ("data", "image_size", "augment_preview", "cache_dir", "max_bad_fraction"),
        "search": (
            "num_samples", "resume", "space", "searcher", "time_budget", "target_accuracy", "start_from", "seed",
            "grace_period", "reduction_factor", "stopped_trials",
        ),
        "training": ("max_epochs", "patience", "precision", "compile"),
        "model": (),
        "machine": (
            "max_concurrent", "gpus_per_trial", "cpus_per_trial", "address", "trial_timeout", "max_failures",
        ),
        "tracking": ("wandb", "tensorboard"),
        "output": ("name", "storage_path", "keep_checkpoints", "debug"),
    }  # fmt: skip

    data: Annotated[str, "FOLDER"] = "inaturalist_12K"
    """Folder with train/<class>/* and val/<class>/* or test/<class>/*; the second folder is the held-out test split.
    Or digits: 1,797 scans that come with scikit-learn."""
    image_size: int | None = None
    """Side of the square images, in pixels. Default: 224, or 32 for digits."""
    space: Annotated[str, "NAME"] = "auto"
    """Search space: full (as published for nature_12K), small (8-32 filters, 2-4 convolutions, 32-128 dense neurons),
    modern (also residual blocks, average pooling and newer training methods), auto (small up to 32 px, else full), or
    a Python file with a function space()."""
    num_samples: int | None = 480
    """Total number of trials, including those before --resume."""
    max_epochs: int = 27
    """Most epochs per trial."""
    patience: int = 5
    """Epochs without a better validation accuracy after which a trial ends."""
    grace_period: int = 3
    """Epochs before ASHA may stop a trial."""
    reduction_factor: int = 3
    """ASHA keeps the best 1/N of the trials at each rung. The rungs are at grace period x N^k epochs."""
    searcher: Literal["tpe", "gp", "random", "grid"] = "tpe"
    """How configurations are chosen: tpe (tree-structured Parzen estimator), gp (Gaussian process), random, or grid
    (every combination, in order)."""
    stopped_trials: Literal["extrapolate", "last", "pruned"] = "extrapolate"
    """What the sampler gets for a trial that ASHA stopped: extrapolate (its accuracy plus the median gain of completed
    trials from that epoch on), last (its accuracy), or pruned (no accuracy)."""
    start_from: Annotated[Path | None, "FILE"] = None
    """JSON file with configurations to try first: one object, a list of objects, or the best.json of another study."""
    time_budget: Annotated[str | None, "TIME"] = None
    """Time after which the search stops cleanly, for example 90m or 2h; --resume continues it. Default: no limit."""
    target_accuracy: float | None = None
    """Validation accuracy at which the search stops cleanly, from 0 to 1. Default: no target."""
    seed: int = 0
    """Seed of the sampler and of all trials. The split into training and validation images does not depend on it."""
    precision: Precision = "auto"
    """Number format of training: auto takes bfloat16 or float16 where the hardware gains from it."""
    compile: bool = False
    """Compile each network with torch.compile, which takes about half a minute per network and a C++ compiler."""
    storage_path: Annotated[Path, "FOLDER"] = Path("results")
    """Folder of all studies; on a cluster, a folder that all nodes share."""
    name: Annotated[str | None, "NAME"] = None
    """Name of the study, and of its folder in --storage-path. Default: made from the data and the time."""
    resume: Annotated[Path | None, "STUDY"] = None
    """Study directory to continue, with the study's own settings; --num-samples may be raised."""
    cache_dir: Annotated[Path, "FOLDER"] = CACHE_DIR
    """Folder for decoded images, on each node."""
    max_bad_fraction: float = 0.01
    """Largest share of the images that may be unreadable; with more, the search does not start."""
    cpus_per_trial: float | None = None
    """CPU cores per trial. Default: 1, or with GPUs an equal share of the cores, at most 8."""
    gpus_per_trial: float | None = None
    """GPUs per trial; with 0.5, two trials share one. Default: 1, or 0 where there is no GPU."""
    max_concurrent: int | None = None
    """Most trials at the same time. Default: as many as fit."""
    address: Annotated[str | None, "ADDRESS"] = None
    """Ray cluster to use; auto is the cluster that this machine belongs to. Default: a private one on this machine."""
    keep_checkpoints: int = 5
    """Number of trials whose checkpoints are kept, the best ones."""
    max_failures: int = 2
    """Most retries of a trial that crashed, each from its last checkpoint."""
    trial_timeout: Annotated[str | None, "TIME"] = None
    """Time without a finished epoch after which a trial is retried, for example 30m; computing features for the cache
    does not count. Default: no limit."""
    tensorboard: bool = False
    """Write TensorBoard event files into the study, one run per trial."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Log to Weights & Biases, one run per trial, grouped by study; offline writes to the study directory only."""
    augment_preview: Annotated[Path | None, "FILE"] = None
    """Write a picture of augmented training images to this file and exit."""
    debug: bool = False
    """Show tracebacks and the messages of libraries."""

    def __post_init__(self) -> None:
        raise_if_any(type_errors(self))
        raise_if_any(self._count_errors() + self._limit_errors() + self._name_errors())
        self.data_config()

    def _count_errors(self) -> list[str]:
        problems = positive_errors(self, "max_epochs", "patience", "grace_period", "keep_checkpoints")
        given = [n for n in ("num_samples", "cpus_per_trial", "max_concurrent") if getattr(self, n) is not None]
        problems += positive_errors(self, *given)
        if self.num_samples is None and self.searcher != "grid":
            problems.append(f"num_samples must be given for --searcher {self.searcher}")
        if self.gpus_per_trial is not None:
            problems += non_negative_errors(self, "gpus_per_trial")
        if self.reduction_factor < 2:
            problems.append(f"reduction_factor must be at least 2, got {self.reduction_factor}")
        return problems + non_negative_errors(self, "max_failures", "seed")

    def _limit_errors(self) -> list[str]:
        problems = []
        if self.grace_period > self.max_epochs:
            problems.append(
                f"grace_period {self.grace_period} is above max_epochs {self.max_epochs}; lower --grace-period too"
            )
        problems += [m for n in ("time_budget", "trial_timeout") for m in duration_errors(self, n)]
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            problems.append(f"target_accuracy must be above 0 and at most 1, got {self.target_accuracy}")
        return problems

    def _name_errors(self) -> list[str]:
        problems, presets = [], (AUTO, *self.PRESETS)
        if self.space not in presets and not self.space.endswith(".py"):
            problems.append(f"unknown space {self.space!r}; choose from {', '.join(presets)}, or name a Python file")
        if self.name is not None and (self.name.strip() in ("", "..") or Path(self.name).name != self.name):
            problems.append(f"name {self.name!r} must be a plain folder name")
        return problems

    @property
    def resolved_image_size(self) -> int:
        """The image size in pixels: the option's value, or the default for the data."""
        if self.image_size is not None:
            return self.image_size
        return 32 if self.data == DIGITS else 224

    def resolved(self) -> Self:
        """The same settings with automatic values and relative paths filled in, as a study records them."""
        space = self.space
        if space == AUTO:
            space = self.default_space
        elif space not in self.PRESETS:
            space = str(expanded(space).resolve())
        return dataclasses.replace(self, data=self._data_path, space=space, image_size=self.resolved_image_size)

    @property
    def default_space(self) -> str:
        """The preset that "auto" stands for."""
        return "small" if self.resolved_image_size <= SMALL_IMAGE else "full"

    @property
    def _data_path(self) -> str:
        return self.data if self.data == DIGITS else str(expanded(self.data).resolve())

    def data_config(self, image_size: int | None = None, *, use_augmentation: bool = True) -> DataConfig:
        """The data settings of the study, for one of its image sizes if its trials have several."""
        return DataConfig(
            data=self._data_path,
            image_size=image_size or self.resolved_image_size,
            cache_dir=str(expanded(self.cache_dir).absolute()),
            use_augmentation=use_augmentation,
            max_bad_fraction=self.max_bad_fraction,
        )

    def trial_settings(self) -> dict[str, Any]:
        """The settings that all trials share: with a trial's hyperparameters, the input of TrialConfig.from_params."""
        names = ("max_epochs", "patience", "precision", "compile")
        return self.data_config().settings() | {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values, which ``from_json`` reads."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in self._items()}

    def _items(self) -> Iterator[tuple[str, Any]]:
        return ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings that ``to_json`` wrote; ConfigError for a name that this version does not know."""
        known = {f.name for f in dataclasses.fields(cls)}
        raise_if_any([unknown_name_error(name, known) for name in values if name not in known])
        paths = {name: Path(values[name]) for name in PATHS if isinstance(values.get(name), str)}
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(dict(values) | paths | lists))


def seconds_of(duration: str | None) -> float | None:
    """Seconds in a duration such as "90s", "30m", "2h" or "1.5d"; None for None."""
    if duration is None:
        return None
    match = DURATION.fullmatch(duration.strip())
    assert match is not None, "SearchConfig has checked it"
    return float(match[1]) * SECONDS[match[2]]


def duration_errors(config: Any, name: str) -> list[str]:
    """A message if the field ``name`` is neither None nor a duration above zero."""
    value = getattr(config, name)
    if value is None or (DURATION.fullmatch(value.strip()) and seconds_of(value)):
        return []
    return [f"{name} must be a number and a unit such as 90s, 30m, 2h or 1d, got {value!r}"]
