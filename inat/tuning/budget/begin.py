"""Begin a search that has nothing but a time budget: plan it, say the plan, and make its options."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from analysis.terminal import PlainConsole
from inat.config.durations import seconds_of
from inat.config.search import SearchConfig
from inat.constants import COMPARED_SIZES
from inat.signals import interruptible_training
from inat.tuning.budget import rules
from inat.tuning.budget.measure import Begun, Planned, plan_here
from inat.tuning.budget.photos import look_at_photos
from inat.tuning.budget.plan import TimePlan, make_plan
from inat.tuning.budget.size_comparison import Comparison, SizeResult, choose_size, compare_sizes, plan_comparison
from inat.tuning.budget.wording import describe_comparison, describe_plan, describe_results
from inat.tuning.equal_cost import LEAST, LEAST_ON_GPU, LEAST_ON_PROCESSOR
from inat.tuning.task import check_task

SPACE: Final = "modern"  # of a planned search
CHOSEN_BY_DEFAULT: Final = SearchConfig.__dataclass_fields__["patience"].default

PrintLine = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Beginning:
    """The options of the planned search, and the plan for study.json."""

    config: SearchConfig
    time_plan: Mapping[str, Any]


def begin(config: SearchConfig, started: float, print_line: PrintLine, *, preview: bool = False) -> Beginning:
    """Plan the time budget of ``config`` on this machine and print the plan; ``started`` is of ``time.monotonic``.

    If the time is enough for large images, the recipe is trained at some image sizes first, and the plan is for the
    one that is chosen. A ``preview`` only says so, and plans for the largest of them.

    Raises ConfigError or DataError as the search would, and ConfigError for too little time.
    """
    loading = time.monotonic() - started
    config = replace(config, space=SPACE)
    # The image size is not chosen yet, and the default one may not fit the space.
    classes = len(check_task(config).data.classes)
    photos = look_at_photos(config.data_config())
    begun = Begun(seconds_of(config.time_budget) or 0.0, started, loading)

    def plan(config: SearchConfig) -> Planned:
        with _said("timing", "the recipe on this machine", print_line), interruptible_training():
            return plan_here(config, photos, classes, begun)

    planned, results = plan(config), list[SizeResult]()
    comparison = plan_comparison(planned.plan, planned.costs)
    if comparison is not None and preview:
        print_line(f"sizes   {describe_comparison(comparison)} come first; this plan is for the largest")
        planned = _after(planned, comparison)
    elif comparison is not None:
        results = _compare(config, planned, comparison, print_line)
        planned = plan(replace(config, image_size=choose_size(results, config.metric)) if results else config)
    print_line(describe_plan(planned))
    sizes = {COMPARED_SIZES: [result.to_json() for result in results]} if results else {}
    least = LEAST_ON_GPU if config.gpus_per_trial != 0 and has_gpu() else LEAST_ON_PROCESSOR
    return Beginning(planned_config(config, planned), planned.plan.to_json() | sizes | {LEAST: least})


def _after(planned: Planned, comparison: Comparison) -> Planned:
    """The plan for the largest size of a ``comparison``, for the time that the comparison leaves."""
    assert planned.facts is not None
    facts = replace(planned.facts, spent=planned.facts.spent + comparison.seconds)
    return replace(planned, plan=make_plan(facts, comparison.costs[-1:]))


def _compare(config: SearchConfig, planned: Planned, comparison: Comparison, print_line: PrintLine) -> list[SizeResult]:
    with _said("sizes", describe_comparison(comparison), print_line), interruptible_training():
        results = compare_sizes(config, planned, comparison)
    chosen = choose_size(results, config.metric) if results else None
    print_line(f"sizes   {describe_results(results, comparison, chosen, config.metric)}")
    return results


@contextmanager
def _said(name: str, text: str, print_line: PrintLine) -> Iterator[None]:
    """Say what goes on: as a status on a terminal, else as a line."""
    console = PlainConsole()
    if not console.is_terminal:
        print_line(f"{name:<7} {text}")
    with console.status(text):
        yield


def planned_config(config: SearchConfig, planned: Planned) -> SearchConfig:
    """``config`` with the options that the plan chooses; those of the user stay."""
    plan = planned.plan
    epochs = plan.max_epochs if plan.searches else most_alone(plan)
    # Schedules end with the last epoch, so a pause before it says nothing.
    patience = epochs if config.patience == CHOSEN_BY_DEFAULT else config.patience
    chosen = replace(
        config,
        image_size=plan.image_size,
        num_samples=plan.trials,
        max_epochs=epochs,
        grace_period=plan.grace_period if plan.searches else epochs,
        patience=patience,
        control_fraction=0.0,  # the time is too short for trials that say nothing to the search
    )
    return chosen if plan.searches else alone(chosen, plan.cores)


def most_alone(plan: TimePlan) -> int:
    """The epochs that a training without a search has at most, if the machine is faster than measured."""
    return max(plan.max_epochs, min(plan.most_epochs, math.ceil(rules.LONGER * plan.max_epochs)))


def alone(config: SearchConfig, cores: int) -> SearchConfig:
    """``config`` for one trial at a time that has the machine: all its cores, or a whole GPU."""
    if config.gpus_per_trial == 0 or not has_gpu():
        return replace(config, cpus_per_trial=float(cores), max_concurrent=1)
    return replace(config, gpus_per_trial=1.0, max_concurrent=1)


def has_gpu() -> bool:
    """Whether this machine has a GPU that trials may use."""
    from inat.device import gpu_count

    return gpu_count() > 0
