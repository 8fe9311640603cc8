"""The command line of a search over pretrained backbones: what it adds to, and sets otherwise than, any search's."""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from inat.config.backbones import BACKBONE_FACTS, FREEZE_PARTIAL, STRATEGIES, BackboneConfig
from inat.config.search import SearchConfig
from inat.config.validation import raise_if_any
from inat.errors import ConfigError

FINETUNE = "finetune"
SETTINGS = ("weights", "body_lr_factor", "views", "max_feature_gb")  # fields of BackboneConfig that are options here
DEFAULT_SAMPLES = 60  # of a search that is no grid


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig(SearchConfig):
    """The command line of a search over pretrained backbones: one field, one option."""

    KIND: ClassVar[str] = FINETUNE
    PRESETS: ClassVar[tuple[str, ...]] = (FINETUNE,)

    backbones: tuple[str, ...] = ("googlenet", "inception_v3", "resnet50", "vgg16", "efficientnet_v2_s", "vit_b_16")
    """Networks of torchvision to start from; mobilenet_v2 is a small one for machines without a GPU."""
    strategies: tuple[str, ...] = STRATEGIES
    """freeze_all trains the head, freeze_partial also the last stages before it, unfreeze_all the whole network."""
    k_layers: tuple[int, ...] = (1, 2, 3)
    """Stages before the head that freeze_partial trains (`python -m inat.models.backbones` lists them)."""
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 8e-4, 3e-3, 1e-2)
    """Learning rates of the grid; another searcher takes any value from the least to the greatest, on a log scale."""
    batch_sizes: tuple[int, ...] = (32, 64)
    """Photos of a training step."""
    augmentation: Literal["off", "on", "both"] = "both"
    """Train on the photos as they are, on augmented ones, or try both."""
    weights: Literal["imagenet", "none"] = "imagenet"
    """Published ImageNet weights, or random ones, which is training from scratch."""
    weights_dir: Path | None = None
    """Folder with BACKBONE.pth files, for machines without a network. Default: torch's cache, then a download."""
    body_lr_factor: float = 0.1
    """With unfreeze_all, the learning rate of all but the head is this many times the learning rate."""
    views: int = 4
    """Augmented copies of each training photo that go through the frozen stages, once; each epoch draws one of them.
    0: every photo goes through the whole network in every epoch."""
    max_feature_gb: float = 20.0
    """Largest set of features, in GB, that is kept for a trial; above it photos go through the whole network."""
    plan: bool = False
    """Print the grid and what it is going to cost on this machine, and do nothing else."""

    image_size: int | None = None
    """Side of the square image in pixels. Default: of each backbone the one its weights were published for."""
    space: str = "auto"
    """Search space: made of the options above, or a Python file whose function space() returns your own."""
    searcher: Literal["tpe", "gp", "random", "grid"] = "grid"
    """Every combination in order, or Optuna's sampler: tree-structured Parzen estimator, Gaussian process, random."""
    num_samples: int | None = None
    """Trials of the whole study, those before a --resume included. Default: all of the grid, 60 of another searcher."""
    max_epochs: int = 20
    """Epochs of a trial that nothing stops."""
    patience: int = 3
    """Epochs without a better validation accuracy after which a trial ends."""

    def __post_init__(self) -> None:
        if self.num_samples is None and self.searcher != "grid":
            object.__setattr__(self, "num_samples", DEFAULT_SAMPLES)
        problems = [f"{n} has no value" for n in ("backbones", "strategies", "learning_rates", "batch_sizes")
                    if not getattr(self, n)]  # fmt: skip
        if FREEZE_PARTIAL in self.strategies and not self.k_layers:
            problems.append(f"k_layers has no value, and {FREEZE_PARTIAL} needs one")
        problems += [f"{n} must be positive, got {v}" for n in ("learning_rates", "batch_sizes")
                     for v in getattr(self, n) if not v > 0]  # fmt: skip
        problems += self._backbone_problems()
        try:
            SearchConfig.__post_init__(self)  # not super(): with slots, this class is another than the one it was
        except ConfigError as error:
            problems += error.problems
        raise_if_any(problems)

    def _backbone_problems(self) -> list[str]:
        found: list[str] = []
        settings = {name: getattr(self, name) for name in SETTINGS}
        for backbone, strategy, k in itertools.product(self.backbones, self.strategies, self.k_layers or (1,)):
            try:
                BackboneConfig(backbone=backbone, strategy=strategy, k_layers=k, **settings)
            except ConfigError as error:
                found += error.problems
        return found

    @property
    def resolved_image_size(self) -> int:
        """The image size of the first backbone, in pixels."""
        first = next(iter(self.backbones), "")
        # An unknown or missing name has any size here: another check reports it.
        return self.image_size or BACKBONE_FACTS.get(first, BACKBONE_FACTS["resnet50"]).image_size

    @property
    def default_space(self) -> str:
        """The preset that "auto" stands for."""
        return FINETUNE

    def resolved(self) -> Self:
        """See SearchConfig; ``image_size`` stays None where each backbone has its own."""
        folder = self.weights_dir and self.weights_dir.expanduser().absolute()
        return dataclasses.replace(SearchConfig.resolved(self), image_size=self.image_size, weights_dir=folder)

    def trial_settings(self) -> dict[str, Any]:
        """See SearchConfig; without an image size where each backbone has its own."""
        settings = SearchConfig.trial_settings(self) | {name: getattr(self, name) for name in SETTINGS}
        settings["weights_dir"] = str(self.weights_dir.expanduser().absolute()) if self.weights_dir else ""
        if self.image_size is None:
            del settings["image_size"]
        return settings
