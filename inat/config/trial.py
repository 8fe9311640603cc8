"""The settings of one training, as frozen dataclasses that check themselves; one error lists all mistakes."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from inat.config.backbones import (
    FREEZE_ALL,
    FREEZE_PARTIAL,
    LORA,
    LP_FT,
    STRATEGIES,
    UNFREEZE_ALL,
    WHOLE,
    BackboneConfig,
    backbone_facts,
    is_backbone,
)
from inat.config.cnn import AVERAGE, FLATTEN, MAXIMUM, CNNConfig
from inat.config.objective import ACCURACY, OBJECTIVES, Objective
from inat.config.optim import COSINE, STEP, TRAPEZOID, OptimConfig
from inat.config.own_model import MODEL, OwnModelConfig
from inat.config.small_resnet import SmallResNetConfig, stem_errors
from inat.config.validation import (
    MAX_IMAGE_SIZE,
    build_part,
    choice_errors,
    has_type,
    non_negative_errors,
    pattern_errors,
    pooling_errors,
    positive_errors,
    raise_if_any,
    range_errors,
    torchvision_errors,
    type_errors,
    unknown_name_error,
)
from inat.constants import BICUBIC, BILINEAR, CACHE_DIR, CROP, DIGITS, DIGITS_STEP, SQUASH
from inat.errors import ConfigError

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
PRECISIONS = get_args(Precision)
# Augmented crops are cut from a stored copy with CROP_MARGIN times the image size. For 300 images of 300x240 px, the
# median PSNR between crops of 64 px from the copy and from the original was 28.7 dB with a margin of 1, 34.3 dB with
# 1.5, 37.2 dB with 2 and 35.0 dB with 3, which aliases (benchmarks/crops.py).
CROP_MARGIN = 2
# How strongly training images are altered: as published for nature_12K, only large crops and flips, or these and one
# (TrivialAugment) or two (RandAugment) random operations of torchvision; or only shifted by a few pixels and flipped.
AUGMENTATION_POLICIES = (PUBLISHED, LIGHT, TRIVIAL, RANDAUGMENT, SHIFT) = (
    "published", "light", "trivial", "randaugment", "shift",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which images, at what size, where their decoded copies are kept, and how training images are augmented.

    The fields in SETTINGS are the same for all trials of a study. Every other field is a hyperparameter of the
    augmentation: a search space may contain it, and it has no effect unless ``use_augmentation`` is true.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = (
        "data", "image_size", "cache_dir", "val_share", "max_bad_fraction", "fingerprint", "train_on_val", "labels",
        "root", "test_fraction", "group_by", "keep_duplicates", "folds", "fold", "repeat", "resize", "resize_size",
        "interpolation",
    )  # fmt: skip

    data: str
    image_size: int
    cache_dir: str = str(CACHE_DIR)
    val_share: float = 0.2
    use_augmentation: bool = False
    light_augmentation: bool = False  # the policy "light" under its earlier name; it wins over "published"
    augmentation_policy: str = PUBLISHED
    max_bad_fraction: float = 0.01
    fingerprint: str = ""  # of the study's images; checked unless it is empty
    train_on_val: bool = False  # also train on the validation images; validation metrics then mean nothing
    labels: str = ""  # table with the class of each image; "": folders are classes
    root: str = ""  # folder of a data set of torchvision
    test_fraction: float = 0.2  # share of a test split, where none is given
    group_by: str = ""  # regular expression that finds the group of an image in its path
    keep_duplicates: bool = True  # copies may be on two sides of a split, as in studies of version 0.2
    folds: int = 0  # above 0, val_share is not used: training and validation images are cut into this many parts
    fold: int = 0  # the part to validate on, from 0 on
    repeat: int = 0  # another one cuts the parts anew
    resize: str = SQUASH  # how an image becomes a square; augmented crops come from the whole image, except for SHIFT
    resize_size: int = 0  # with CROP, the shorter side in pixels before the square is cut out; 0: image_size
    interpolation: str = BILINEAR

    @property
    def shorter_side(self) -> int:
        """Length of the shorter side of an image before a square is cut from its centre; 0 if images are squashed."""
        return (self.resize_size or self.image_size) if self.resize == CROP else 0

    @property
    def policy(self) -> str:
        """How training images are altered, where they are: one of AUGMENTATION_POLICIES."""
        light = self.light_augmentation and self.augmentation_policy == PUBLISHED
        return LIGHT if light else self.augmentation_policy

    @property
    def crop_size(self) -> int:
        """Side in pixels of the stored copies that augmented crops are cut from."""
        return self.image_size if self.policy == SHIFT else CROP_MARGIN * self.image_size

    def without_augmentation(self) -> Self:
        """The same configuration with all hyperparameters at their defaults: all trials of a study share it."""
        return type(self)(**self.settings())

    def settings(self) -> dict[str, Any]:
        """The fields that are the same for all trials of a study."""
        return {name: getattr(self, name) for name in self.SETTINGS}

    def without_folds(self) -> Self:
        """The same configuration for all folds: whatever does not depend on them is made once."""
        return dataclasses.replace(self, folds=0, fold=0, repeat=0)

    def form_key(self) -> list[Any]:
        """How images become squares, as part of a cache key; empty for the form of earlier versions."""
        key = [self.shorter_side, self.interpolation]
        return [] if key == [0, BILINEAR] else key

    def augmentation_key(self) -> list[str]:
        """The hyperparameters of the augmentation that are not at their defaults, as part of a cache key.

        Defaults are left out: features that were cached before a hyperparameter existed stay valid.
        """
        named = ("light_augmentation", "augmentation_policy")  # two names of the policy
        changed = {f.name: value for f in dataclasses.fields(self) if f.name in AUGMENTATION and f.name not in named
                   and (value := getattr(self, f.name)) != f.default}  # fmt: skip
        policy = [] if self.policy == PUBLISHED else [self.policy]
        return [*policy, *(f"{name}={value}" for name, value in changed.items())]

    def __post_init__(self) -> None:
        problems = type_errors(self) + positive_errors(self, "image_size") + range_errors(self, "val_share", 0.01, 1)
        problems += range_errors(self, "max_bad_fraction", 0, 1) + range_errors(self, "test_fraction", 0.01, 1)
        problems += pattern_errors(self, "group_by") + non_negative_errors(self, "resize_size")
        problems += choice_errors(self, "resize", (SQUASH, CROP))
        problems += choice_errors(self, "interpolation", (BILINEAR, BICUBIC))
        problems += choice_errors(self, "augmentation_policy", AUGMENTATION_POLICIES)
        typed = has_type(self, "image_size") and has_type(self, "resize_size")
        if typed and 0 < self.resize_size < self.image_size:
            problems.append(f"resize_size must be 0 or at least image_size {self.image_size}, got {self.resize_size}")
        problems += (
            torchvision_errors(self.data, self.root) if has_type(self, "data") and has_type(self, "root") else []
        )
        problems += non_negative_errors(self, "folds", "fold", "repeat") + self._fold_errors()
        if has_type(self, "image_size") and self.image_size > MAX_IMAGE_SIZE:
            problems.append(f"image_size must be at most {MAX_IMAGE_SIZE}, got {self.image_size}")
        if self.data == DIGITS and has_type(self, "image_size") and self.image_size % DIGITS_STEP:
            problems.append(f"the digits are 8x8 scans: image_size must be a multiple of 8, got {self.image_size}")
        raise_if_any(problems)

    def _fold_errors(self) -> list[str]:
        if not all(has_type(self, name) for name in ("folds", "fold")):
            return []
        if self.folds == 1:
            return ["folds must be 0 (one validation split) or at least 2, got 1"]
        last = max(0, self.folds - 1)
        return [] if self.fold <= last else [f"fold must be in 0..{last}, got {self.fold}"]


AUGMENTATION = tuple(
    f.name for f in dataclasses.fields(DataConfig) if f.name not in (*DataConfig.SETTINGS, "use_augmentation")
)


# (name, default, values, others): if the hyperparameter ``name`` has one of ``values``, ``others`` have no effect.
INACTIVE_WHEN: tuple[tuple[str, Any, tuple[Any, ...], tuple[str, ...]], ...] = (
    ("strategy", FREEZE_PARTIAL, tuple(name for name in STRATEGIES if name != FREEZE_PARTIAL), ("k_layers",)),
    ("strategy", LP_FT, tuple(name for name in STRATEGIES if name != LP_FT), ("probe_share",)),
    ("strategy", LORA, tuple(name for name in STRATEGIES if name != LORA), ("lora_rank",)),
    ("strategy", UNFREEZE_ALL, (FREEZE_ALL,), ("body_lr_factor", "layer_decay", "drop_path", "grad_checkpointing")),
    ("pooling", FLATTEN, (AVERAGE, MAXIMUM), ("num_neurons_dense",)),
    ("schedule", STEP, (STEP,), ("warmup_share",)),
    ("schedule", STEP, (STEP, COSINE), ("decay_share",)),
    ("schedule", STEP, (COSINE, TRAPEZOID), ("lr_step_epochs", "lr_gamma")),
    ("use_augmentation", True, (False,), AUGMENTATION),
)


def active_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """``params`` without the hyperparameters that have no effect, such as k_layers without freeze_partial."""
    inactive = {name for decider, default, values, names in INACTIVE_WHEN if params.get(decider, default) in values
                for name in names}  # fmt: skip
    return {name: value for name, value in params.items() if name not in inactive}


def feature_group(params: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """A key that is equal for trials with the same cached features; None for a trial without frozen stages."""
    if params.get("strategy", UNFREEZE_ALL) in WHOLE:
        return None
    active = active_params(params)
    names = ("backbone", "strategy", "k_layers", "use_augmentation", *AUGMENTATION)
    return tuple(active.get(name) for name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """All settings of one training. No two parts have a field name in common, so a flat dict describes them."""

    data: DataConfig
    model: CNNConfig | SmallResNetConfig | BackboneConfig | OwnModelConfig
    optim: OptimConfig
    max_epochs: int
    patience: int = 5
    seed: int = 0
    precision: Precision = "auto"
    compile: bool = False
    metric: str = ACCURACY.name  # the objective: decides on patience, and on the epoch whose weights are kept
    stop_epoch: int = 0  # ends the training early, with the schedule for max_epochs; 0: train for max_epochs

    def __post_init__(self) -> None:
        problems = type_errors(self) + positive_errors(self, "max_epochs", "patience")
        if has_type(self, "stop_epoch") and not 0 <= self.stop_epoch <= self.max_epochs:
            problems.append(f"stop_epoch must be in 0..{self.max_epochs}, got {self.stop_epoch}")
        if isinstance(self.model, CNNConfig):
            problems += pooling_errors(self.model.conv_layers, self.data.image_size)
        if isinstance(self.model, SmallResNetConfig):
            problems += stem_errors(self.data.image_size, self.model.stem_stride)
        problems += choice_errors(self, "metric", tuple(OBJECTIVES))
        if self.precision not in PRECISIONS:
            problems.append(f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}")
        raise_if_any(problems)

    @property
    def objective(self) -> Objective:
        """The metric that decides on patience, and on the epoch whose weights are kept."""
        return OBJECTIVES[self.metric]

    @property
    def probe_epochs(self) -> int:
        """The epochs in which lp_ft trains the head only: at least one, and not all; 0 for other strategies."""
        if not isinstance(self.model, BackboneConfig) or self.model.strategy != LP_FT:
            return 0
        return min(max(1, round(self.model.probe_share * self.max_epochs)), self.max_epochs - 1)

    @property
    def can_train_longer(self) -> bool:
        """Whether a training with more ``max_epochs`` begins with the very epochs of this one.

        So it is with a step schedule. The others end with the last epoch, and so does lp_ft's first phase with a share
        of the epochs. With folds, the next training begins where the one before has ended.
        """
        return self.optim.schedule == STEP and not self.probe_epochs and self.data.folds == 0

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """The configuration that a flat dict of primitives describes, such as Tune samples it.

        A dict with ``backbone`` describes a pretrained network; its ``image_size`` is optional. One with ``width``
        describes a small residual network. One with ``model`` describes a network of the user, whose arguments are the
        names that are nothing else. Raises ConfigError with all mistakes: unknown names, missing values, impossible
        values.
        """
        if MODEL in params:
            return cls._with_own_model(params)
        scratch = SmallResNetConfig if "width" in params else CNNConfig
        model = BackboneConfig if "backbone" in params else scratch
        parts: dict[str, type] = {"data": DataConfig, "model": model, "optim": OptimConfig}
        if is_backbone(params.get("backbone")):  # a wrong value may be a list
            params = {**backbone_facts(params["backbone"]).preprocessing(params), **params}
        own = {f.name for f in dataclasses.fields(cls)} - parts.keys()
        known = own | {f.name for part in parts.values() for f in dataclasses.fields(part)}
        problems = [unknown_name_error(name, known) for name in params if name not in known]
        built: dict[str, Any] = {}
        for key, part in parts.items():
            try:
                built[key] = build_part(part, params)
            except ConfigError as error:
                problems += error.problems
        raise_if_any(problems)
        return cls(**built, **{name: params[name] for name in own & params.keys()})

    @classmethod
    def _with_own_model(cls, params: Mapping[str, Any]) -> Self:
        parts: dict[str, type] = {"data": DataConfig, "optim": OptimConfig}
        own = {f.name for f in dataclasses.fields(cls)} - parts.keys() - {MODEL}
        known = own | TRAINING_NAMES
        # A LightningModule may choose its optimizer itself; its trials then have no learning rate.
        params = {"learning_rate": OWN_LEARNING_RATE, **params}
        problems: list[str] = []
        built: dict[str, Any] = {}
        for key, part in parts.items():
            try:
                built[key] = build_part(part, params)
            except ConfigError as error:
                problems += error.problems
        try:
            built[MODEL] = OwnModelConfig.from_params(params, known)
        except ConfigError as error:
            problems += error.problems
        raise_if_any(problems)
        return cls(**built, **{name: params[name] for name in own & params.keys()})

    def to_params(self) -> dict[str, Any]:
        """A flat dict from which ``from_params`` makes an equal configuration."""
        flat = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for part in (flat.pop("data"), flat.pop("model"), flat.pop("optim")):
            own = isinstance(part, OwnModelConfig)
            flat |= part.to_params() if own else {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        return flat


# Names of the training, which the arguments of a user's own network cannot have.
TRAINING_NAMES = {f.name for part in (DataConfig, OptimConfig) for f in dataclasses.fields(part)}
OWN_LEARNING_RATE = 1e-3  # of a user's own network, unless its space has another: the default of torch's Adam
