"""Begin a search that has nothing but a time budget: plan it, say the plan, and make its options."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from analysis.terminal import PlainConsole
from inat.config.durations import seconds_of
from inat.config.search import SearchConfig
from inat.tuning.budget.measure import Begun, Planned, plan_here
from inat.tuning.budget.photos import look_at_photos
from inat.tuning.budget.wording import describe_plan
from inat.tuning.task import check_task

SPACE: Final = "modern"  # of a planned search
CHOSEN_BY_DEFAULT: Final = SearchConfig.__dataclass_fields__["patience"].default

PrintLine = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The options of the planned search, and the plan for study.json."""

    config: SearchConfig
    time_plan: Mapping[str, Any]


def begin(config: SearchConfig, started: float, print_line: PrintLine) -> Beginning:
    """Plan the time budget of ``config`` on this machine and print the plan; ``started`` is of ``time.monotonic``.

    Raises ConfigError or DataError as the search would, and ConfigError for too little time.
    """
    loading = time.monotonic() - started
    config = replace(config, space=SPACE)
    # The image size is not chosen yet, and the default one may not fit the space.
    classes = len(check_task(config).data.classes)
    photos = look_at_photos(config.data_config())
    console = PlainConsole()
    if not console.is_terminal:
        print_line("timing  the recipe on this machine")
    with console.status("timing the recipe on this machine"):
        begun = Begun(seconds_of(config.time_budget) or 0.0, started, loading)
        planned = plan_here(config, photos, classes, begun)
    print_line(describe_plan(planned))
    return Beginning(planned_config(config, planned), planned.plan.to_json())


def planned_config(config: SearchConfig, planned: Planned) -> SearchConfig:
    """``config`` with the options that the plan chooses; those of the user stay."""
    plan = planned.plan
    # Schedules end with the last epoch, so a pause before it says nothing.
    patience = plan.max_epochs if config.patience == CHOSEN_BY_DEFAULT else config.patience
    chosen = replace(
        config,
        image_size=plan.image_size,
        num_samples=plan.trials,
        max_epochs=plan.max_epochs,
        grace_period=plan.grace_period,
        patience=patience,
        control_fraction=0.0,  # the time is too short for trials that say nothing to the search
    )
    return chosen if plan.searches else alone(chosen, plan.cores)


def alone(config: SearchConfig, cores: int) -> SearchConfig:
    """``config`` for one trial at a time that has the machine: all its cores, or a whole GPU."""
    if config.gpus_per_trial == 0 or not has_gpu():
        return replace(config, cpus_per_trial=float(cores), max_concurrent=1)
    return replace(config, gpus_per_trial=1.0, max_concurrent=1)


def has_gpu() -> bool:
    """Whether this machine has a GPU that trials may use."""
    from inat.device import gpu_count

    return gpu_count() > 0
