"""What a search is asked to do, checked before Ray starts; a search and its plan are refused for the same reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from inat.config.objective import TOP2
from inat.config.search import MODERN_SPACE, SearchConfig
from inat.config.trial import SHIFT, DataConfig
from inat.data.listing import download
from inat.data.splits import DataSummary, Splits, inspect_data, load_splits
from inat.errors import ConfigError
from inat.tuning.earlier.lessons import Lessons, learn
from inat.tuning.loggers import wandb_logger
from inat.tuning.own_model import allow_own_model
from inat.tuning.own_stages import with_fitting_stages
from inat.tuning.sampling.samplers import STARTUP_TRIALS
from inat.tuning.space import backbone_checks, presets
from inat.tuning.space.grid import grid_of
from inat.tuning.space.initial_points import read_initial_points
from inat.tuning.space.neighbours import neighbours


@dataclass(frozen=True, slots=True)
class Task:
    """A checked search: its settings with automatic values filled in, its space and its images.

    ``grid`` are the configurations of a grid search, [] for a sampler. ``start_from`` are those that are tried first,
    of which ``recipe`` is the first one, {} without a recipe; the sampler draws hyperparameters that they leave out.
    ``lessons`` are those of --learn-from, of a new study. ``own_stages`` counts the stages of a user's network with the
    head, 0 for one without, and for other networks.
    """

    config: SearchConfig
    space: Mapping[str, Any]
    grid: list[dict[str, Any]]
    start_from: list[dict[str, Any]]
    data: DataSummary
    own_stages: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    lessons: Lessons | None = None

    def with_width(self, filters: int) -> "Task":
        """The task whose recipe has so many filters in its first stage, as a time plan may choose; 0: as it is."""
        if not filters or not self.recipe:
            return self
        recipe = {**self.recipe, "width": filters}
        return replace(self, recipe=recipe, start_from=[recipe, *self.start_from[1:]])

    def load(self) -> Splits:
        """Decode the images at each size that trials need, unless the cache has them, and return the first splits.

        DataError if they cannot be cut as the options ask.
        """
        first, *_ = [load_splits(one) for one in data_configs(self.config, self.space)]
        return first


def check_task(config: SearchConfig) -> Task:
    """Check all of a search but its weights and its study, without decoding its images.

    Raises ConfigError or DataError.
    """
    config = with_fitting_stages(config.resolved())
    allow_own_model(config)
    # Data are listed last, as that takes longest, unless the space depends on them.
    early = _inspected(config) if config.space == MODERN_SPACE and config.resume is None else None
    space = presets.space_of(config, early)
    grid = grid_of(space) if config.searcher == "grid" else []
    start_from = [] if config.resume else read_initial_points(config.start_from, space)  # a study has its own
    data = early or _inspected(config)
    recipe = presets.recipe_of(config, data) if early and config.model is None else {}
    lessons = None if config.resume else learn(config, space, data.fingerprint)
    start_from += lessons.first if lessons else []
    check_metric(config, data)
    stages = 0
    if config.model is not None:
        from inat.tuning.own_model_check import check_own_model  # loads torch, which other searches do without

        stages = check_own_model(config, space, len(data.classes)).stages
    wandb_logger.check_login(config.wandb)
    if config.compile:
        from inat.training.compiling import check_compiler  # loads torch, which the search itself does not need

        check_compiler()
    if recipe:
        start_from = [recipe, *(start_from or _near(recipe, space, config))]
    return Task(config, space, grid, start_from, data, stages, recipe, lessons)


def _near(recipe: Mapping[str, Any], space: Mapping[str, Any], config: SearchConfig) -> list[dict[str, Any]]:
    """What is tried after the recipe, until the sampler has enough trials for its model."""
    if config.searcher in ("random", "grid"):
        return []
    return neighbours(recipe, space, STARTUP_TRIALS - 1, config.seed)


def _inspected(config: SearchConfig) -> DataSummary:
    if config.download:
        download(config.data_config())
    return inspect_data(config.data_config())


def check_metric(config: SearchConfig, data: DataSummary) -> None:
    """Raise ConfigError for a metric that says nothing about these images."""
    if config.objective is TOP2 and len(data.classes) < 3:
        raise ConfigError(
            f"--metric top2 is 1 for every network, because {config.data} has {len(data.classes)} classes; "
            "choose another metric"
        )


def data_configs(config: SearchConfig, space: Mapping[str, Any]) -> list[DataConfig]:
    """Return the data settings of the trials of ``space``, one for each form that their images have."""
    augmented = True in backbone_checks.choices(space, "use_augmentation")
    data = config.data_config(use_augmentation=augmented)
    if set(backbone_checks.choices(space, "augmentation_policy")) == {SHIFT}:
        data = replace(data, augmentation_policy=SHIFT)  # which needs no larger copies of the images
    return [replace(data, **form) for form in backbone_checks.image_forms(config, space)]
