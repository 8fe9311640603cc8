"""The options of a search as one frozen dataclass, and which of them may change when a search is resumed."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import tyro

from inat.config.costs import NOISE, OFF, PARAMETERS, SHARES
from inat.config.data_options import DataOptions
from inat.config.defaults import UNSET
from inat.config.durations import duration_errors
from inat.config.objective import OBJECTIVES, Objective
from inat.config.optim import CLASS_WEIGHTS, NO_WEIGHTS
from inat.config.own_model import absolute_model, model_errors, read_model_file
from inat.config.run_file import PATHS, read_run_file
from inat.config.trial import Precision
from inat.config.validation import (
    choice_errors,
    expanded,
    gpu_share_errors,
    non_negative_errors,
    positive_errors,
    raise_if_any,
    type_errors,
    unknown_name_error,
)
from inat.constants import SQUASH

AUTO = "auto"
EARLIER_TARGET = "target_accuracy"  # the name of "target" in studies of earlier versions
GRACE_PERIOD = 3
CONTROL_FRACTION = 0.05
# Expected ones; a search that expects fewer has none by default. The audit needs 5 that ASHA would have stopped, which
# half of the searches with 6 controls have, and almost nine of ten with 10.
FEWEST_CONTROLS = 10
MOST_CONTROLS = 0.5  # of the trials: with more, early stopping saves next to nothing
MODERN_SPACE = "modern"  # a value of --space
REFIT_ALL: Final = "all"  # a value of --refit
SMALL_IMAGE = 32  # px; up to this side --space auto means the small space
ALSO_TARGET_ACCURACY = tyro.conf.arg(aliases=["--target-accuracy"])


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstOptions:
    """The options that are read first: the study of --resume, and the file of --config, supply the defaults."""

    resume: Path | None = None
    config: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig(DataOptions):
    """The options of a search. The string below a field is the help text of its option."""

    KIND: ClassVar[str] = "scratch"  # stored in study.json; default study names start with it
    PRESETS: ClassVar[tuple[str, ...]] = ("full", "small", MODERN_SPACE)  # values of --space besides auto and a file
    MAX_EPOCHS: ClassVar[int] = 27
    # What studies did before an option existed: they looked for no copies, squashed photos into squares, had no control
    # trials, added the gains of completed trials to what a stopped trial had reached, and trained last on the training
    # photos alone.
    EARLIER_OPTIONS: ClassVar[Mapping[str, Any]] = {
        "keep_duplicates": True, "resize": SQUASH, "control_fraction": 0.0, "stopped_trials": "extrapolate",
        "refit": "train",
    }  # fmt: skip
    OPTION_GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "data": (
            "data", "labels", "root", "download", "image_size", "test_fraction", "group_by", "keep_duplicates",
            "resize", "augment_preview", "cache_dir", "max_bad_fraction",
        ),
        "search": (
            "plan", "metric", "cost", "prefer_cheaper", "num_samples", "resume", "retry_failed", "space", "searcher",
            "time_budget", "target", "start_from", "learn_from", "seed", "grace_period", "reduction_factor",
            "control_fraction", "stopped_trials", "refit",
        ),
        "training": (
            "max_epochs", "patience", "folds", "repeats", "class_weights", "balanced_sampler", "precision", "compile",
        ),
        "model": ("model",),
        "machine": (
            "max_concurrent", "gpus_per_trial", "cpus_per_trial", "address", "trial_timeout", "max_failures",
        ),
        "tracking": ("wandb", "tensorboard"),
        "output": ("name", "storage_path", "keep_checkpoints", "config", "save_config", "debug"),
    }  # fmt: skip

    UNUSED: ClassVar[frozenset[str]] = frozenset()  # options that mean nothing to this kind of search

    space: Annotated[str, "NAME"] = "auto"
    """Search space: full (as published for nature_12K), small (8-32 filters, 2-4 convolutions as the images allow,
    32-128 dense neurons), modern (small residual networks around a recipe for the size and the number of the images and
    the epochs; the recipe is the first trial), auto (small up to 32 px, else full), or a Python file with a function
    space()."""
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "val_loss", "top2"] = "accuracy"
    """Validation metric that the search optimises: accuracy (share of correct images), balanced_accuracy (mean of the
    classes' recalls), macro_f1 (mean of the classes' F1 scores), val_loss (cross entropy, lower is better), or top2
    (share of images whose class is among the two most probable). All of them are recorded."""
    cost: Literal["parameters", "epoch-seconds"] = PARAMETERS
    """Cost of a trial beside its metric: parameters (number of those that it trains) or epoch-seconds (median time of
    an epoch). The summary of the search, best.json and the report list the trials of which no cheaper one is as good.
    The sampler does not look at it."""
    prefer_cheaper: Annotated[float | Literal["off", "noise"], "off|noise|DISTANCE"] = "off"
    """Take the cheapest trial, by --cost, of those that are as good as the best one as the result of the search: those
    within one standard error of its value (noise), or within a distance in the metric, such as 0.005."""
    num_samples: int | None = 480
    """Total number of trials, including those before --resume."""
    max_epochs: int = UNSET
    """Most epochs per trial. Default: 27, or more if --grace-period is larger."""
    patience: int = 8  # benchmarks/patience.py: 5 loses up to 0.1 points of the best result, 12 wastes epochs
    """Epochs without a better value of the metric after which a trial ends."""
    grace_period: int = UNSET
    """Epochs before ASHA may stop a trial. Default: 3, or fewer if --max-epochs is smaller."""
    reduction_factor: int = 3
    """ASHA keeps the best 1/N of the trials at each rung. The rungs are at grace period x N^k epochs."""
    control_fraction: float | None = None
    """Share of the trials, chosen at random before they start, that ASHA does not stop, from 0 to 0.5. They show what
    stopping misses, and what holds at the last epoch; the other trials and the sampler do not change. 0.05 costs about
    a seventh more epochs. Default: 0.05, or 0 for fewer than 200 trials, a grid and a planned --time-budget."""
    searcher: Literal["auto", "tpe", "gp", "random", "grid"] = "auto"  # benchmarks/search_quality.py
    """How configurations are chosen: tpe (tree-structured Parzen estimator), gp (Gaussian process), random, or grid
    (every combination, in order). auto takes gp if each hyperparameter is a range of numbers, and tpe otherwise."""
    stopped_trials: Literal["chain", "extrapolate", "last", "pruned"] = "chain"  # benchmarks/search_quality.py
    """What the sampler gets for a trial that ASHA stopped: chain (its best value plus the median gains of all trials
    from rung to rung, revised with each trial; running trials count from their first rung on), extrapolate (its best
    value plus the median gain of completed trials from that epoch on), last (its best value), or pruned (no value)."""
    start_from: Annotated[Path | None, "FILE"] = None
    """JSON file with configurations to try first: one object, a list of objects, or the best.json of another study."""
    learn_from: Annotated[tuple[str, ...], "STUDY ..."] = ()
    """Earlier studies with some of the same hyperparameters: their best configurations are tried first, and their
    results are a prior for the sampler, which counts less with each trial of this search. They may have other images,
    metrics or epochs. Default: none."""
    time_budget: Annotated[str | None, "TIME"] = None
    """Time that the whole command may take, for example 30m or 2h: image size, epochs and trials are chosen for it, and
    the best configuration is trained once more at the end. Beside --space, --num-samples, --max-epochs, --model and the
    like: time after which the search stops cleanly; --resume continues it. Default: no limit."""
    refit: Literal["all", "train"] = REFIT_ALL
    """Photos for the last training of a search that --time-budget plans: all (training and validation photos; only the
    test photos can measure it) or train (so that its validation result can be compared with the search)."""
    target: Annotated[float | None, ALSO_TARGET_ACCURACY] = None
    """Value of the metric at which the search stops cleanly, such as 0.9. Default: no target."""
    seed: int = 0
    """Seed of the sampler and of all trials. The split into training and validation images does not depend on it."""
    precision: Precision = "auto"
    """Number format of training: auto times a training step of each network, and takes bfloat16 or float16 unless
    float32 is faster."""
    class_weights: Literal["none", "balanced", "effective"] = "none"
    """Weights of the classes in the training loss: none, balanced (inverse to the number of their images), or effective
    (inverse to their effective number of images). A space may choose them instead."""
    balanced_sampler: bool = False
    """Draw the same number of images from each class in an epoch. A space may choose this instead."""
    model: Annotated[str | None, "FILE[:NAME]"] = None
    """Search your own network: a Python file with build(num_classes, image_size, ...), which returns an nn.Module, or
    FILE:NAME for another function or a LightningModule. Its arguments are hyperparameters. Default: the CNN of
    --space."""
    compile: bool = False
    """Compile each network with torch.compile, which takes about half a minute per network and a C++ compiler."""
    storage_path: Annotated[Path, "FOLDER"] = Path("results")
    """Folder of all studies; on a cluster, a folder that all nodes share."""
    name: Annotated[str | None, "NAME"] = None
    """Name of the study, and of its folder in --storage-path. Default: made from the data and the time."""
    resume: Annotated[Path | None, "STUDY"] = None
    """Study directory to continue, with the study's own settings; --num-samples and --max-epochs may be raised."""
    retry_failed: bool = False
    """With --resume, run the failed trials again, from their first epoch and under their ids."""
    cpus_per_trial: float | None = None
    """CPU cores per trial. Default: 1, or with GPUs an equal share of the cores, at most 8."""
    gpus_per_trial: float | None = None
    """Share of a GPU per trial: 1, 0.5 for two trials on each GPU, 0 to train on the CPUs. Default: a share that the
    networks of the space fit into, so that small ones do not leave the GPU idle; 0 where there is no GPU."""
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
    plan: bool = False
    """Print the number of trials and epochs and their estimated cost on this machine, and exit. Images are decoded into
    the cache, as for the search; with --resume, what is left is planned."""
    config: Annotated[Path | None, "FILE"] = None
    """YAML file with options, such as the run.yaml of a study; `inat new` writes an example. Options on the command
    line win."""
    save_config: Annotated[Path | None, "FILE"] = None
    """Write the options to this file, for --config, and exit."""
    debug: bool = False
    """Show tracebacks and the messages of libraries."""

    def __post_init__(self) -> None:
        self._accept_plain_values()
        self._fit_defaults()
        raise_if_any(type_errors(self))
        raise_if_any(self._count_errors() + self._limit_errors() + self._name_errors())
        self.data_config()

    def _accept_plain_values(self) -> None:
        """Turn texts into paths, and lists into tuples, as Python code and files give them."""
        for name, value in self._items():
            if name in PATHS and isinstance(value, str):
                object.__setattr__(self, name, Path(value))
            elif isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def _fit_defaults(self) -> None:
        """Fill in the epochs that nobody chose, such that they fit those that somebody chose."""
        if self.max_epochs is UNSET:
            least = self.grace_period if isinstance(self.grace_period, int) else 0
            object.__setattr__(self, "max_epochs", max(self.MAX_EPOCHS, least))
        if self.grace_period is UNSET:
            most = self.max_epochs if isinstance(self.max_epochs, int) else GRACE_PERIOD
            object.__setattr__(self, "grace_period", max(min(GRACE_PERIOD, most), 1))
        if self.control_fraction is None:
            object.__setattr__(self, "control_fraction", self._default_control_fraction())

    def _default_control_fraction(self) -> float:
        trials = self.num_samples if isinstance(self.num_samples, int) else None
        few = trials is not None and trials * CONTROL_FRACTION < FEWEST_CONTROLS
        return 0.0 if few or self.searcher == "grid" else CONTROL_FRACTION

    def _count_errors(self) -> list[str]:
        names = ("max_epochs", "patience", "folds", "repeats", "grace_period", "keep_checkpoints")
        problems = positive_errors(self, *names)
        given = [n for n in ("num_samples", "cpus_per_trial", "max_concurrent") if getattr(self, n) is not None]
        problems += positive_errors(self, *given)
        if self.num_samples is None and self.searcher != "grid":
            problems.append(f"num_samples must be given for --searcher {self.searcher}")
        problems += gpu_share_errors(self, "gpus_per_trial")
        if self.reduction_factor < 2:
            problems.append(f"reduction_factor must be at least 2, got {self.reduction_factor}")
        if not 0 <= (self.control_fraction or 0.0) <= MOST_CONTROLS:
            problems.append(f"control_fraction must be from 0 to {MOST_CONTROLS}, got {self.control_fraction}")
        return problems + non_negative_errors(self, "max_failures", "seed")

    def _limit_errors(self) -> list[str]:
        problems = []
        # A resumed search may change neither: check_resumable names the one that was changed.
        if self.resume is None and self.grace_period > self.max_epochs > 0:
            problems.append(
                f"grace_period {self.grace_period} is above max_epochs {self.max_epochs}; lower --grace-period too"
            )
        if self.retry_failed and self.resume is None:
            problems.append("retry_failed needs --resume with the study whose failed trials are to run again")
        if self.learn_from and self.searcher in ("random", "grid"):
            problems.append(
                f"learn_from needs a searcher that learns, and {self.searcher} does not; leave out --learn-from, or "
                "take --searcher tpe"
            )
        problems += self._preference_errors()
        problems += [m for n in ("time_budget", "trial_timeout") for m in duration_errors(self, n)]
        if self.target is not None and self.metric in OBJECTIVES:
            most = max(1.0, self.objective.worst)
            if not 0 < self.target <= most:
                problems.append(f"target must be above 0 and at most {most:g}, got {self.target}")
        return problems

    def _preference_errors(self) -> list[str]:
        given = self.prefer_cheaper
        if given == NOISE and self.metric in OBJECTIVES and self.metric not in SHARES and self.folds * self.repeats < 2:
            return [
                f"prefer_cheaper noise has no standard error for the metric {self.metric} of a single training; give a "
                "distance such as 0.005, or --folds"
            ]
        if isinstance(given, float | int) and given < 0:
            return [f"prefer_cheaper must not be negative, got {given}; give a distance such as 0.005, noise or {OFF}"]
        return []

    def _name_errors(self) -> list[str]:
        problems, presets = [], (AUTO, *self.PRESETS)
        if self.space not in presets and not self.space.endswith(".py"):
            problems.append(f"unknown space {self.space!r}; choose from {', '.join(presets)}, or name a Python file")
        problems += choice_errors(self, "metric", tuple(OBJECTIVES)) + model_errors(self)
        problems += choice_errors(self, "class_weights", CLASS_WEIGHTS)
        if self.name is not None and (self.name.strip() in ("", "..") or Path(self.name).name != self.name):
            problems.append(f"name {self.name!r} must be a plain folder name")
        return problems

    @property
    def objective(self) -> Objective:
        """What the search optimises."""
        return OBJECTIVES[self.metric]

    def resolved(self) -> Self:
        """The same settings with automatic values and relative paths filled in, as a study records them."""
        space = self.space
        if space == AUTO:
            space = self.default_space
        elif space not in self.PRESETS:
            space = str(expanded(space).resolve())
        model = self.model and absolute_model(self.model)
        return dataclasses.replace(
            self, data=self.data_path, space=space, image_size=self.resolved_image_size, model=model
        )

    @property
    def default_space(self) -> str:
        """The preset that "auto" stands for; of it, a network of the user takes the training."""
        return "small" if self.resolved_image_size <= SMALL_IMAGE else "full"

    def trial_settings(self) -> dict[str, Any]:
        """The settings that all trials share: with a trial's hyperparameters, the input of TrialConfig.from_params."""
        names = ["max_epochs", "patience", "precision", "compile", "metric"]
        # Only if they are given: otherwise a space may contain them.
        names += [
            name for name in ("class_weights", "balanced_sampler") if getattr(self, name) not in (NO_WEIGHTS, False)
        ]
        settings = self.data_config().settings() | {name: getattr(self, name) for name in names}
        return settings | (read_model_file(self.model).settings() if self.model else {})

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values, which ``from_json`` reads."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in self._items()}

    def _items(self) -> Iterator[tuple[str, Any]]:
        return ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))

    @classmethod
    def from_file(cls, path: str | Path, **changes: Any) -> Self:
        """The options in a YAML file, as for --config, with ``changes``; ConfigError with the line of a mistake."""
        file = read_run_file(Path(path), cls)
        with file.places_in_messages(changes):
            return cls(**{**file.values, **changes})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings that ``to_json`` wrote; ConfigError for a name that this version does not know."""
        if EARLIER_TARGET in values:
            values = {"target": values[EARLIER_TARGET]} | {n: v for n, v in values.items() if n != EARLIER_TARGET}
        known = {f.name for f in dataclasses.fields(cls)}
        raise_if_any([unknown_name_error(name, known) for name in values if name not in known])
        values = dict(cls.EARLIER_OPTIONS) | dict(values)
        if isinstance(gpus := values.get("gpus_per_trial"), int | float) and gpus > 1:
            values["gpus_per_trial"] = 1.0  # earlier versions reserved more, although a trial used one
        return cls(**values)
