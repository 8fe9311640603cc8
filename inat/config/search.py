"""The command line of a search as one frozen dataclass, and what may change when a search is resumed."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from inat.config.trial import DataConfig, Precision
from inat.config.validation import positive_errors, raise_if_any, type_errors, unknown_name_error
from inat.constants import CACHE_DIR, DIGITS

# Options that JSON keeps as text.
PATHS = ("storage_path", "cache_dir", "resume", "start_from", "augment_preview", "weights_dir")
AUTO = "auto"
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SMALL_IMAGE = 32  # px; up to this side --space auto takes the small space


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeOption:
    """The one option that decides where the others' defaults come from."""

    resume: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """The command line of a search: one field, one option."""

    KIND: ClassVar[str] = "scratch"  # of studies, and how their names begin
    PRESETS: ClassVar[tuple[str, ...]] = ("full", "small", "modern")  # of the option space

    data: str = "inaturalist_12K"
    """Folder with train/<class>/* and val/<class>/* (or test/<class>/*), the second being the held-out test split;
    or "digits", 1,797 scans that come with scikit-learn."""
    image_size: int | None = None
    """Side of the square image the network sees, in pixels. Default: 224, for digits 32."""
    space: str = "auto"
    """Search space: "full" is the published one; "small" has 8-32 filters, 2-4 convolutions and 32-128 dense neurons;
    "auto" takes small up to 32 px; "modern" adds residual blocks, average pooling and newer ways to train. Or a Python
    file whose function space() returns your own."""
    num_samples: int | None = 480
    """Trials of the whole study, those before a --resume included. None: all of a grid."""
    max_epochs: int = 27
    """Epochs of a trial that nothing stops."""
    patience: int = 5
    """Epochs without a better validation accuracy after which a trial ends."""
    grace_period: int = 3
    """Epochs before ASHA may stop a trial."""
    reduction_factor: int = 3
    """ASHA keeps the best 1/FACTOR at each rung; rungs stand at GRACE x FACTOR^k epochs."""
    searcher: Literal["tpe", "gp", "random", "grid"] = "tpe"
    """Optuna's sampler: tree-structured Parzen estimator, Gaussian process, or random; or all choices in order."""
    stopped_trials: Literal["extrapolate", "last", "pruned"] = "extrapolate"
    """What the searcher learns of a trial that ASHA stopped: its accuracy plus the median gain of completed trials
    from that epoch on, its accuracy as it was, or only that it was pruned."""
    start_from: Path | None = None
    """JSON file with configurations to try first: one object, a list of them, or the best.json of another study."""
    time_budget: str | None = None
    """Time after which the search stops cleanly, for example 90m or 2h; --resume goes on."""
    target_accuracy: float | None = None
    """Validation accuracy at which the search stops cleanly."""
    seed: int = 0
    """Seed of searcher and trials. The train/validation split does not depend on it."""
    precision: Precision = "auto"
    """Arithmetic: auto takes bfloat16 or float16 where this hardware gains from it."""
    compile: bool = False
    """Compile each network with torch.compile: costs about half a minute a network and needs a C++ compiler."""
    storage_path: Path = Path("results")
    """Folder of all studies; on a cluster, one that every node sees."""
    name: str | None = None
    """Name of the study, a new folder in the storage path. Default: made of data and time."""
    resume: Path | None = None
    """Study directory to continue; its settings are taken from there, --num-samples may be raised."""
    cache_dir: Path = CACHE_DIR
    """Where decoded photographs are kept, on each node."""
    max_bad_fraction: float = 0.01
    """Share of the photographs that may be unreadable; the run stops if there are more."""
    cpus_per_trial: float | None = None
    """CPU cores of a trial. Default: 1, with GPUs an equal share of the cores, at most 8."""
    gpus_per_trial: float | None = None
    """GPUs of a trial, fractions allowed (0.5: two trials share one). Default: 1 where there are any."""
    max_concurrent: int | None = None
    """Most trials at a time. Default: as many as fit."""
    address: str | None = None
    """Ray cluster to use, "auto" for the one this machine belongs to. Default: a private one on this machine."""
    keep_checkpoints: int = 5
    """Best trials whose checkpoints are kept."""
    max_failures: int = 2
    """Times a crashed trial is tried again, from its last checkpoint."""
    trial_timeout: str | None = None
    """Time without an epoch (building features is not counted), for example 30m, after which a trial counts as hanging
    and is tried again."""
    tensorboard: bool = False
    """Write TensorBoard event files into the study, one run a trial."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Weights & Biases: one run a trial, grouped by study. "offline" writes to the study directory only."""
    augment_preview: Path | None = None
    """Write a picture of augmented training photos to this file, and do nothing else."""
    debug: bool = False
    """Show tracebacks and the libraries' own messages."""

    def __post_init__(self) -> None:
        raise_if_any(type_errors(self))
        problems = positive_errors(self, "max_epochs", "patience", "grace_period", "keep_checkpoints")
        problems += [m for n in ("num_samples", "cpus_per_trial", "max_concurrent") if getattr(self, n) is not None
                     for m in positive_errors(self, n)]  # fmt: skip
        if self.num_samples is None and self.searcher != "grid":
            problems.append(f"num_samples must be given for --searcher {self.searcher}")
        if self.gpus_per_trial is not None and not self.gpus_per_trial >= 0:
            problems.append(f"gpus_per_trial must not be negative, got {self.gpus_per_trial}")
        if self.reduction_factor < 2:
            problems.append(f"reduction_factor must be at least 2, got {self.reduction_factor}")
        if self.max_failures < 0:
            problems.append(f"max_failures must not be negative, got {self.max_failures}")
        if self.seed < 0:
            problems.append(f"seed must not be negative, got {self.seed}")
        if self.grace_period > self.max_epochs:
            problems.append(
                f"grace_period {self.grace_period} is above max_epochs {self.max_epochs}; lower --grace-period too"
            )
        problems += [m for n in ("time_budget", "trial_timeout") for m in duration_errors(self, n)]
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            problems.append(f"target_accuracy must be above 0 and at most 1, got {self.target_accuracy}")
        presets = (AUTO, *self.PRESETS)
        if self.space not in presets and not self.space.endswith(".py"):
            problems.append(f"unknown space {self.space!r}; choose from {', '.join(presets)}, or name a Python file")
        if self.name is not None and (self.name.strip() in ("", "..") or Path(self.name).name != self.name):
            problems.append(f"name {self.name!r} must be a plain folder name")
        raise_if_any(problems)
        self.data_config()

    @property
    def resolved_image_size(self) -> int:
        """The image size in pixels: the user's, or the default of the data."""
        if self.image_size is not None:
            return self.image_size
        return 32 if self.data == DIGITS else 224

    def resolved(self) -> Self:
        """The same settings with every automatic value and relative path spelt out, as a study records them."""
        space = self.space
        if space == AUTO:
            space = self.default_space
        elif space not in self.PRESETS:
            space = str(Path(space).expanduser().resolve())
        return dataclasses.replace(self, data=self._data_path, space=space, image_size=self.resolved_image_size)

    @property
    def default_space(self) -> str:
        """The preset that "auto" stands for."""
        return "small" if self.resolved_image_size <= SMALL_IMAGE else "full"

    @property
    def _data_path(self) -> str:
        return self.data if self.data == DIGITS else str(Path(self.data).expanduser().resolve())

    def data_config(self, image_size: int | None = None, *, use_augmentation: bool = True) -> DataConfig:
        """The data settings of a study; ``image_size`` where its trials have several."""
        return DataConfig(
            data=self._data_path,
            image_size=image_size or self.resolved_image_size,
            cache_dir=str(self.cache_dir.expanduser().absolute()),
            use_augmentation=use_augmentation,
            max_bad_fraction=self.max_bad_fraction,
        )

    def trial_settings(self) -> dict[str, Any]:
        """The flat, primitive settings that every trial gets besides its sampled hyperparameters."""
        names = ("max_epochs", "patience", "precision", "compile")
        return self.data_config().settings() | {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values; ``from_json`` reads them back."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in self._items()}

    def _items(self) -> Iterator[tuple[str, Any]]:
        return ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote; ConfigError for names this version does not know."""
        known = {f.name for f in dataclasses.fields(cls)}
        raise_if_any([unknown_name_error(name, known) for name in values if name not in known])
        paths = {name: Path(values[name]) for name in PATHS if values.get(name) is not None}
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**(dict(values) | paths | lists))


def seconds_of(duration: str | None) -> float | None:
    """Seconds of "90s", "30m", "2h" or "1.5d"; None for None."""
    if duration is None:
        return None
    match = DURATION.fullmatch(duration.strip())
    assert match is not None, "checked by SearchConfig"
    return float(match[1]) * SECONDS[match[2]]


def duration_errors(config: Any, name: str) -> list[str]:
    """A message if the named field is given and no duration above zero."""
    value = getattr(config, name)
    if value is None or (DURATION.fullmatch(value.strip()) and seconds_of(value)):
        return []
    return [f"{name} must be a number and a unit such as 90s, 30m, 2h or 1d, got {value!r}"]


# What --resume may change: how much is done and on which machine, never what is measured.
# The photos may have moved: that they are the same is checked by their fingerprint.
CHANGEABLE = frozenset(
    {"num_samples", "resume", "cpus_per_trial", "gpus_per_trial", "max_concurrent", "address", "keep_checkpoints",
     "max_failures", "wandb", "debug", "cache_dir", "data", "max_bad_fraction", "augment_preview",
     "time_budget", "target_accuracy", "trial_timeout", "tensorboard", "weights_dir", "plan"}
)  # fmt: skip


def check_resumable(stored: SearchConfig, wanted: SearchConfig) -> None:
    """Refuse to continue a study with settings that would make its trials incomparable."""
    pairs = zip(stored.resolved()._items(), wanted.resolved()._items(), strict=True)
    changed = [(n, old, new) for (n, old), (_, new) in pairs if n not in CHANGEABLE and old != new]
    raise_if_any([
        f"--{n.replace('_', '-')} {new} differs from the study's {old}; leave it out or start a new study"
        for n, old, new in changed
    ])  # fmt: skip
    before, now = (math.inf if config.num_samples is None else config.num_samples for config in (stored, wanted))
    if now < before:
        raise_if_any(
            [f"--num-samples {wanted.num_samples} is below the study's {stored.num_samples}; it may only be raised"]
        )
