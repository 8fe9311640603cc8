"""The options of a search over pretrained backbones: those of every search with other defaults, and its own."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import tyro

from inat.config.backbones import (
    EVERY_STRATEGY,
    FREEZE_ALL,
    FREEZE_PARTIAL,
    FULL_STRATEGIES,
    IMAGENET,
    LP_FT,
    ONLY_UNFREEZE_ALL,
    UNFREEZE_ALL,
    WHOLE,
    BackboneConfig,
    backbone_facts,
    is_backbone,
)
from inat.config.defaults import UNSET
from inat.config.race import CANDIDATES, RACES
from inat.config.search import AUTO, REFIT_ALL, SearchConfig
from inat.config.validation import expanded, raise_if_any, type_errors
from inat.constants import CROP, DIGITS, DIGITS_STEP, SQUASH
from inat.errors import ConfigError

FINETUNE = "finetune"
# Fields of BackboneConfig, and of OwnModelConfig, that are options here.
SETTINGS = ("weights", "body_lr_factor", "views", "max_feature_gb", "max_cache_gb")
OWN_SETTINGS = ("body_lr_factor", "views", "max_feature_gb", "max_cache_gb")
OWN_IMAGE_SIZE = 224  # px, of a network of the user
MODERN, PUBLISHED = "modern", "published"  # values of --recipe
DEFAULT_BACKBONES = ("mobilenet_v2", "resnet50", "efficientnet_v2_s")  # from small to large
DEFAULT_K_LAYERS = (1, 2, 3)
DEFAULT_STRATEGIES = (FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL, LP_FT)
PUBLISHED_BACKBONES = ("googlenet", "inception_v3", "resnet50", "vgg16", "efficientnet_v2_s", "vit_b_16")
PUBLISHED_BODY_LR_FACTOR = 0.1
# The last two stages of efficientnet-lite0 on 400 photos at 64 px after 20 epochs, 5 seeds at a learning rate of 1e-3:
# 0.629 with a factor of 0.1, 0.683 with 1; 3 seeds with 0.3: 0.645 (benchmarks/reports/2026-11-29-finetune-recipe.md).
# At 3e-3, 0.3 beats 1.
BODY_LR_FACTOR = 1.0
DEFAULT_SAMPLES = {MODERN: 40, PUBLISHED: 60}  # trials of a search without a grid


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig(SearchConfig):
    """The options of a search over pretrained backbones. The string below a field is the help text of its option."""

    KIND: ClassVar[str] = FINETUNE
    PRESETS: ClassVar[tuple[str, ...]] = (FINETUNE,)
    MAX_EPOCHS: ClassVar[int] = 20
    EARLIER_OPTIONS: ClassVar[Mapping[str, Any]] = {**SearchConfig.EARLIER_OPTIONS, "recipe": PUBLISHED}
    OPTION_GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **SearchConfig.OPTION_GROUPS,
        "search": (
            "plan", "preset", "time_budget", "num_samples", "metric", "cost", "prefer_cheaper", "resume",
            "retry_failed", "searcher", "grid", "space", "target", "start_from", "learn_from", "seed", "grace_period",
            "reduction_factor", "control_fraction", "stopped_trials",
        ),
        "training": (
            "max_epochs", "patience", "recipe", "learning_rates", "body_lr_factor", "batch_sizes", "augmentation",
            "class_weights", "balanced_sampler", "folds", "repeats", "precision", "compile",
        ),
        "model": (
            "backbones", "strategies", "k_layers", "weights", "weights_dir", "model", "views", "max_feature_gb",
            "max_cache_gb",
        ),
    }  # fmt: skip
    UNUSED: ClassVar[frozenset[str]] = frozenset({"refit"})  # there is no last training

    refit: tyro.conf.Suppress[Literal["all", "train"]] = REFIT_ALL
    preset: Literal["fast", "good", "best"] | None = None
    """Choose the backbones and the number of trials by a race that fits --time-budget: probe all of --backbones, then
    train the leaders. fast takes 10m, good 1h and best 8h, unless --time-budget gives another time. Without
    --backbones, torchvision's networks race, and a few of timm's whose weights are here or can be downloaded. Default:
    no race; every backbone is searched."""
    recipe: Literal["modern", "published"] = "modern"
    """How trials train. modern: AdamW, warm-up and cosine; a searcher also chooses weight decay, layer decay, label
    smoothing, augmentation and more. published: as for nature_12K, Adam with a step schedule."""
    grid: Literal["published"] | None = None
    """Try the published grid, 600 trials: sets --recipe published and --searcher grid."""
    backbones: Annotated[tuple[str, ...], "NAME ..."] = DEFAULT_BACKBONES
    """Networks of torchvision, or timm:NAME for one of timm's (`inat backbones --search WORD` lists them). Default:
    mobilenet_v2 resnet50 efficientnet_v2_s, with --recipe published googlenet inception_v3 resnet50 vgg16
    efficientnet_v2_s vit_b_16, without those that --image-size or --k-layers does not fit."""
    strategies: Annotated[tuple[str, ...], "NAME ..."] = DEFAULT_STRATEGIES
    """freeze_all trains the head, freeze_partial also the last stages before it, unfreeze_all the whole network; lp_ft
    the head, after a quarter of the epochs the whole network; lora the head and low-rank updates, bitfit the head and
    biases, norm_only the head and norms. Default: the first four, with --recipe published the first three."""
    k_layers: tuple[int, ...] = DEFAULT_K_LAYERS
    """Numbers of stages before the head that freeze_partial trains. Stages differ: 3 are 99 % of resnet50, 1 is a
    single layer of efficientnet_v2_s; --plan and `python -m inat.models.backbones` show the parameters. Default: 1 2 3,
    with --model those that your network has."""
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 8e-4, 3e-3, 1e-2)
    """Learning rates of the head: a grid tries these values, other searchers any value from the smallest to the
    largest, on a log scale."""
    batch_sizes: tuple[int, ...] = (32, 64)
    """Images per training step."""
    augmentation: Literal["auto", "off", "on", "both", "light", "trivial", "randaugment"] = "auto"
    """Train on the images as they are (off), on images as augmented for nature_12K (on), or try both; light: large
    crops and flips, trivial: TrivialAugment, randaugment: RandAugment at a sixth of its full strength. Default: a
    searcher tries off, light and trivial, a grid light; with --recipe published, both."""
    weights: Literal["imagenet", "none"] = "imagenet"
    """Start from published weights (imagenet, also where timm's come from other images), or from random weights
    (none), which is training from scratch."""
    weights_dir: Annotated[Path | None, "FOLDER"] = None
    """Folder with the weights, for machines without internet: BACKBONE.pth for networks of torchvision,
    MODEL.TAG.safetensors for timm's. Default: the cache of torch or of the Hugging Face Hub, then a download."""
    body_lr_factor: float | None = None
    """The learning rate of the layers before the head is X times that of the head. Default: a searcher chooses, a grid
    takes 1; with --recipe published 0.1, for unfreeze_all only."""
    views: int = 4
    """Augmented copies per training image whose features are cached; each epoch takes one of them at random. With 0,
    nothing is cached, and every image goes through the whole network in every epoch."""
    max_feature_gb: float = 20.0
    """Largest size of a trial's cached features, in GB; above it, they are cached in 16 bit, then in fewer views, then
    not at all, as with --views 0."""
    max_cache_gb: float = 0.0
    """Largest size of all cached features, in GB; features that no running trial reads make room for new ones, those
    first that were not read for the longest time. Default: 0, as the disk allows, with a reserve for checkpoints."""
    plan: bool = False
    """Print the trials and their estimated cost on this machine, with --preset how the time is split, and exit. Images
    are decoded into the cache, as for the search; with --resume, what is left is planned."""
    model: Annotated[str | None, "FILE[:NAME]"] = None
    """Fine-tune your own network: a Python file with build(num_classes, image_size, ...), which loads weights itself,
    and with stages(model) for --strategies; or FILE:NAME for another function or a LightningModule. Default: the
    networks of --backbones."""

    image_size: int | None = None
    """Side of the square images, in pixels. Default: the size that each backbone's weights were published for."""
    resize: Literal["squash", "crop"] | None = None
    """How a photo becomes a square: squash takes all of it, crop the centre, as large as in the published evaluation of
    each network. Augmented training images come from all of the photo either way. Default: crop, or squash with
    --recipe published."""
    space: Annotated[str, "NAME"] = "auto"
    """Search space: auto (made from the options of this command), or a Python file with a function space()."""
    num_samples: int | None = None
    """Total number of trials, including those before --resume. Default: 40, or 60 with --recipe published; of a grid,
    all."""
    time_budget: Annotated[str | None, "TIME"] = None
    """Time after which the search stops cleanly, for example 90m or 2h; --resume continues it. Default: no limit."""
    max_epochs: int = UNSET
    """Most epochs per trial. Default: 20, or more if --grace-period is larger."""
    patience: int = 3

    def __post_init__(self) -> None:
        self._accept_plain_values()
        self._fit_preset()
        self._fit_defaults()
        raise_if_any(type_errors(self))
        problems = self._recipe_problems()
        if self.num_samples is None and self.searcher != "grid":
            object.__setattr__(self, "num_samples", DEFAULT_SAMPLES[self.recipe])
        # Those very tuples: nobody has chosen them.
        if self.model is None and any(self.backbones is names for names in (DEFAULT_BACKBONES, PUBLISHED_BACKBONES)):
            object.__setattr__(self, "backbones", self.fitting(self.backbones) or self.backbones)
        problems += [f"{n} has no value" for n in ("backbones", "strategies", "learning_rates", "batch_sizes")
                    if not getattr(self, n)]  # fmt: skip
        if FREEZE_PARTIAL in self.strategies and not self.k_layers:
            problems.append(f"k_layers has no value, and {FREEZE_PARTIAL} needs one")
        problems += [f"{n} must be positive, got {v}" for n in ("learning_rates", "batch_sizes")
                     for v in getattr(self, n) if not v > 0]  # fmt: skip
        problems += self._preset_problems()
        problems += self._backbone_problems() if self.model is None else self._own_model_problems()
        try:
            SearchConfig.__post_init__(self)  # not super(): slots=True makes another class of this one
        except ConfigError as error:
            problems += error.problems
        raise_if_any(problems)

    def _fit_preset(self) -> None:
        """Fill in what nobody chose and a preset decides: a race needs a sampler, a time budget and its epochs."""
        race = RACES.get(self.preset) if isinstance(self.preset, str) else None
        if race is None:
            return
        grace = self.grace_period if isinstance(self.grace_period, int) else 0
        defaults: dict[str, Any] = {
            "searcher": AUTO if self.searcher == "grid" else self.searcher,
            "time_budget": race.time_budget if self.time_budget is None else self.time_budget,
            "num_samples": race.num_samples if self.num_samples is None else self.num_samples,
            "max_epochs": max(race.max_epochs, grace) if self.max_epochs is UNSET else self.max_epochs,
        }
        if self.backbones is DEFAULT_BACKBONES and self.model is None:
            defaults["backbones"] = self.default_candidates() if isinstance(self.k_layers, tuple) else CANDIDATES
        for name, value in defaults.items():
            object.__setattr__(self, name, value)

    def _default_control_fraction(self) -> float:
        planned = self.preset is not None or self.grid is not None
        return 0.0 if planned else SearchConfig._default_control_fraction(self)

    def _preset_problems(self) -> list[str]:
        if self.preset is None:
            return []
        problems = []
        if self.space not in (AUTO, *self.PRESETS):
            problems.append(f"preset {self.preset} makes its own space; leave out --space or --preset")
        if self.model is not None:
            problems.append(f"preset {self.preset} races pretrained backbones; leave out --model or --preset")
        if self.grid is not None:
            problems.append(f"preset {self.preset} makes its own space; leave out --grid or --preset")
        if self.learn_from:
            problems.append(
                f"preset {self.preset} chooses the backbones by a race on these photos; leave out --learn-from or "
                "--preset"
            )
        others = [name for name in self.strategies if name in WHOLE and name != UNFREEZE_ALL]
        if others and UNFREEZE_ALL not in self.strategies:
            problems.append(
                f"preset {self.preset} tries {', '.join(others)} only after {UNFREEZE_ALL}; add that to --strategies, "
                "or leave out --preset"
            )
        return problems

    def _recipe_problems(self) -> list[str]:
        """Fill in what the recipe decides and nobody has chosen; return a message if a grid has another searcher."""
        if self.grid is not None:
            if self.searcher not in (AUTO, "tpe", "grid"):  # tpe was the default
                return [
                    f"grid {self.grid} leaves no choice to a sampler; leave out --grid or --searcher {self.searcher}"
                ]
            object.__setattr__(self, "recipe", PUBLISHED)
            object.__setattr__(self, "searcher", "grid")
        if self.recipe == PUBLISHED:
            if self.backbones is DEFAULT_BACKBONES and self.model is None:
                object.__setattr__(self, "backbones", PUBLISHED_BACKBONES)
            if self.strategies is DEFAULT_STRATEGIES:
                object.__setattr__(self, "strategies", FULL_STRATEGIES)
            if self.body_lr_factor is None:
                object.__setattr__(self, "body_lr_factor", PUBLISHED_BODY_LR_FACTOR)
        if self.resize is None:
            object.__setattr__(self, "resize", SQUASH if self.recipe == PUBLISHED else CROP)
        if self.model is not None and self.strategies is DEFAULT_STRATEGIES:
            object.__setattr__(self, "strategies", FULL_STRATEGIES)
        return []

    def default_candidates(self) -> tuple[str, ...]:
        """The networks of torchvision that a preset tries if nobody names others."""
        return self.fitting(CANDIDATES) or CANDIDATES

    def fitting(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those backbones that --image-size and --k-layers fit, as far as that is known before they are built."""
        k_layers = self.k_layers if FREEZE_PARTIAL in self.strategies else ()
        step = DIGITS_STEP if self.data == DIGITS else 1
        return tuple(name for name in names if backbone_facts(name).fits(self.image_size, k_layers, step))

    def _backbone_problems(self) -> list[str]:
        found: list[str] = []
        settings = {name: getattr(self, name) for name in SETTINGS if getattr(self, name) is not None}
        for backbone, strategy, k in itertools.product(self.backbones, self.strategies, self.k_layers or (1,)):
            try:
                BackboneConfig(backbone=backbone, strategy=strategy, k_layers=k, **settings)
            except ConfigError as error:
                found += error.problems
        return found

    def _own_model_problems(self) -> list[str]:
        """A message for each option that is about backbones only."""
        defaults = {"backbones": DEFAULT_BACKBONES, "weights": IMAGENET, "weights_dir": None}
        used = [name for name, value in defaults.items() if getattr(self, name) != value]
        return [f"{name} is about backbones and not about the network of --model; leave one of them out"
                for name in used]  # fmt: skip

    @property
    def resolved_image_size(self) -> int:
        """The image size of the first backbone, in pixels; 224 for a network of the user."""
        if self.model is not None:
            return self.image_size or OWN_IMAGE_SIZE
        first = next(iter(self.backbones), "")
        # For an unknown or missing name any size will do: another check reports the name.
        return self.image_size or backbone_facts(first if is_backbone(first) else "resnet50").image_size

    @property
    def default_space(self) -> str:
        """The preset that "auto" stands for."""
        return FINETUNE

    def resolved(self) -> Self:
        """See SearchConfig; ``image_size`` stays None if each backbone has its own."""
        folder = self.weights_dir and expanded(self.weights_dir).absolute()
        size = self.resolved_image_size if self.model else self.image_size
        return dataclasses.replace(SearchConfig.resolved(self), image_size=size, weights_dir=folder)

    def trial_settings(self) -> dict[str, Any]:
        """See SearchConfig; without what each backbone has of its own."""
        if self.model is not None:
            own = {name: getattr(self, name) for name in OWN_SETTINGS}
            own["body_lr_factor"] = BODY_LR_FACTOR if self.body_lr_factor is None else self.body_lr_factor
            return SearchConfig.trial_settings(self) | own
        settings = SearchConfig.trial_settings(self) | {name: getattr(self, name) for name in SETTINGS}
        settings["body_lr_rule"] = ONLY_UNFREEZE_ALL if self.recipe == PUBLISHED else EVERY_STRATEGY
        if self.body_lr_factor is None:
            settings["body_lr_factor"] = BODY_LR_FACTOR  # of a space that does not choose it
        settings["weights_dir"] = str(expanded(self.weights_dir).absolute()) if self.weights_dir else ""
        del settings["interpolation"], settings["resize_size"]  # each backbone has its own
        if self.image_size is None:
            del settings["image_size"]
        return settings

    @property
    def replaceable(self) -> frozenset[str]:
        """The settings of trials that a space may contain, because nobody has chosen them."""
        return frozenset({"body_lr_factor"} if self.body_lr_factor is None else ())
