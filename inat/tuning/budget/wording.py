"""The plan of a time budget in five lines, and the comparison of image sizes before it."""

from collections.abc import Sequence

from analysis.markdown import format_duration
from analysis.objective import OBJECTIVES
from analysis.wording import counted, join_words
from inat.device import gpu_name
from inat.tuning.budget import rules
from inat.tuning.budget.costs import Measured
from inat.tuning.budget.measure import Planned
from inat.tuning.budget.plan import TimePlan
from inat.tuning.budget.size_comparison import Comparison, SizeResult
from inat.tuning.rungs import Rungs


def describe_plan(planned: Planned) -> str:
    """The image size, the search, the last training, the time of each part, and what was measured."""
    plan, images = planned.plan, planned.photos.counts.train
    lines = [
        f"plan    {format_duration(plan.seconds)} for about {images:,} training photos: {_size(planned)}",
        f"search  {_search(plan)}",
        f"last    {_last(planned)}",
        f"time    {_parts(plan)}",
        f"timed   {'; '.join(_timed(planned, one) for one in planned.measured)}",
    ]
    return "\n".join(lines)


def _size(planned: Planned) -> str:
    plan, side = planned.plan, planned.photos.side
    small = "; the disk of the cache has no room for larger ones" if planned.disk_limited else ""
    return f"{plan.image_size} x {plan.image_size} px, from photos whose shorter side has typically {side} px{small}"


def _search(plan: TimePlan) -> str:
    if not plan.searches:
        return f"none: fewer than {rules.FEWEST_TRIALS} trials fit beside the last training"
    rungs = Rungs(plan.grace_period, plan.reduction_factor, plan.max_epochs).milestones
    costs = " and ".join(f"{rung} ({format_duration(rung * plan.epoch_seconds)})" for rung in rungs)
    compared = f"compared after the time of {costs}" if rungs else "compared at their end"
    whole = format_duration(plan.max_epochs * plan.epoch_seconds)
    return (
        f"about {counted(plan.trials, 'trial')}, {plan.slots} at a time, the recipe first; each trains as long as "
        f"{counted(plan.max_epochs, 'epoch')} of the recipe ({whole}), {compared}"
    )


def _last(planned: Planned) -> str:
    wide = f" with {planned.plan.width} filters in the first stage" if planned.plan.width else ""
    what = f"the best configuration again{_refit(planned)}" if planned.plan.searches else f"the recipe{wide}"
    return f"{what} for about {counted(planned.plan.last_epochs, 'epoch')}, with {_all(planned)}"


def _refit(planned: Planned) -> str:
    facts, counts = planned.facts, planned.photos.counts
    if facts is None or facts.refit == 1:
        return ""
    return f" on all training and validation photos, about {counts.train + counts.val:,},"


def _all(planned: Planned) -> str:
    if planned.slots.gpus:
        return "a GPU to itself"
    if planned.plan.cores < planned.cores:
        return f"{counted(planned.plan.cores, 'core')}, as other programs use the rest"
    if planned.cores_limited:
        return f"{counted(planned.cores, 'core')}, as --cpus-per-trial says"
    if planned.cores == 1:
        return "the only core"
    return f"all {planned.cores} cores"


def _parts(plan: TimePlan) -> str:
    parts = [("start and decoding", plan.start_seconds), ("search", plan.search_seconds),
             ("last training", plan.restart_seconds + plan.last_seconds),
             ("test and report", plan.end_seconds)]  # fmt: skip
    texts = [f"{name} {format_duration(seconds)}" for name, seconds in parts if seconds]
    spare = plan.seconds - plan.total
    return f"{', '.join(texts)}" + (f"; {format_duration(spare)} are left over" if spare > 0.05 * plan.seconds else "")


def _timed(planned: Planned, one: Measured) -> str:
    device = gpu_name() if planned.slots.gpus else f"{planned.slots.cpus:g} core{'s' if planned.slots.cpus > 1 else ''}"
    text = f"the recipe at {one.image_size} px trains {1 / one.slot.train_image:,.0f} photos a second on {device}"
    if one.alone is one.slot:
        return text
    return f"{text}, {1 / one.alone.train_image:,.0f} on {planned.cores}"


def describe_comparison(comparison: Comparison) -> str:
    """What a comparison of image sizes trains, and for how long."""
    sides = join_words([cost.image_size for cost in comparison.costs])
    return (
        f"{counted(comparison.epochs, 'epoch')} of the recipe at each of {sides} px "
        f"(about {format_duration(comparison.seconds)})"
    )


def describe_results(results: Sequence[SizeResult], comparison: Comparison, chosen: int | None, metric: str) -> str:
    """What the recipe reached at each size, and which one is chosen."""
    if chosen is None:
        return "none was trained in time, as this machine was slower than measured; the plan keeps the largest"
    objective = OBJECTIVES[metric]
    values = ", ".join(f"{result.value:.4f} at {result.image_size} px" for result in results)
    late = [str(cost.image_size) for cost in comparison.costs[len(results) :]]
    missing = f"; {join_words(late)} px took too long" if late else ""
    return f"{objective.label} {values}{missing}; chosen: {chosen} px"
