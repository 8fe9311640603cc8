"""Compare image sizes for a time budget: train the recipe at each of them, and choose one by the validation images.

Larger images cost more, and with few photos they may give nothing. What they give with these photos is measured, at the
share COMPARISON_SHARE of the time: the recipe trains for the same number of epochs at each size.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pytorch_lightning as pl
import torch

from analysis.objective import OBJECTIVES
from inat.config.search import SearchConfig
from inat.data.splits import load_splits
from inat.device import free_cached, this_device
from inat.training.fit import fit
from inat.training.precision_choice import settle_precision
from inat.tuning.budget import rules
from inat.tuning.budget.measure import Planned, recipe_trial
from inat.tuning.budget.plan import SizeCost, TimePlan

LATE: Final = 1.5  # a training that takes this many times what was planned is ended, and says nothing


@dataclass(frozen=True, slots=True)
class Comparison:
    """The image sizes to compare, in ascending order: ``epochs`` of the recipe at each, in ``seconds`` altogether."""

    costs: Sequence[SizeCost]
    epochs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SizeResult:
    """What the recipe reached at ``image_size``: the best ``value`` of the metric, in ``seconds``."""

    image_size: int
    value: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The values for study.json."""
        return {"image_size": self.image_size, "value": round(self.value, 6), "seconds": round(self.seconds, 2)}


def plan_comparison(plan: TimePlan, costs: Sequence[SizeCost]) -> Comparison | None:
    """The comparison of the plan's image size with smaller ones; None if it is not worth its time.

    The sizes are that of the plan, and those nearest to a half and a quarter of it: twice the side is four times the
    pixels. They are compared if FEWEST_SEARCH_EPOCHS at each of them take no more than COMPARISON_SHARE of the time.
    """
    largest = next((cost for cost in costs if cost.image_size == plan.image_size), None)
    if largest is None or not plan.searches:
        return None
    smaller = [cost for cost in costs if cost.image_size < largest.image_size]
    nearest = {
        min(smaller, key=lambda cost: abs(cost.image_size - part * largest.image_size)).image_size
        for part in rules.COMPARED_PARTS
        if smaller
    }
    chosen = [cost for cost in smaller if cost.image_size in nearest] + [largest]
    while len(chosen) > 1:
        once, each = sum(cost.start + cost.decode for cost in chosen), sum(cost.alone for cost in chosen)
        epochs = min(plan.max_epochs, int((rules.COMPARISON_SHARE * plan.seconds - once) / (rules.SAFETY * each)))
        if epochs >= rules.FEWEST_SEARCH_EPOCHS:
            return Comparison(chosen, epochs, once + epochs * rules.SAFETY * each)
        chosen = chosen[1:]
    return None


def compare_sizes(config: SearchConfig, planned: Planned, comparison: Comparison) -> list[SizeResult]:
    """Train the recipe at each size, on all cores or the GPU; sizes that do not end in time are left out."""
    threads, results = torch.get_num_threads(), []
    try:
        torch.set_num_threads(planned.plan.cores)
        for cost in comparison.costs:
            result = _train(config, planned, cost, comparison.epochs)
            if result is None:
                break  # larger ones take longer
            results.append(result)
    finally:
        torch.set_num_threads(threads)
        free_cached(this_device())
    return results


def _train(config: SearchConfig, planned: Planned, cost: SizeCost, epochs: int) -> SizeResult | None:
    config = replace(config, max_epochs=epochs, grace_period=epochs, patience=epochs)
    trial = recipe_trial(config, cost.image_size, planned.photos.counts.train, planned.classes, epochs=epochs)
    trial = settle_precision(replace(trial, seed=config.seed), None, num_classes=planned.classes)
    load_splits(trial.data)  # decodes the photos before the clock starts
    started = time.monotonic()
    deadline = _Deadline(started + LATE * (cost.start + epochs * rules.SAFETY * cost.alone))
    metrics = fit(trial, [deadline])
    if metrics["epochs"] < epochs:
        return None
    value = float(metrics[OBJECTIVES[config.metric].best_column])
    return SizeResult(cost.image_size, value, time.monotonic() - started)


def choose_size(results: Sequence[SizeResult], metric: str) -> int:
    """The image size with the best value of the metric; of equal ones the smallest.

    With a few hundred validation images the choice is partly luck, but then the sizes differ by little. A smaller size
    within one standard error is not preferred: at 454 images that may cost 2 points, more than most searches gain.

    >>> choose_size([SizeResult(64, 0.71, 9.0), SizeResult(128, 0.73, 9.0), SizeResult(224, 0.73, 30.0)], "accuracy")
    128
    """
    sign = OBJECTIVES[metric].sign
    return max(results, key=lambda result: (sign * result.value, -result.image_size)).image_size


class _Deadline(pl.Callback):
    """Ends a training after the epoch in which its time is over."""

    def __init__(self, at: float) -> None:
        self._at = at

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if time.monotonic() > self._at:
            trainer.should_stop = True
