"""The order of the trials of an earlier study, whose trials ended at different epochs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import rankdata


@dataclass(frozen=True, slots=True)
class EarlierTrial:
    """An ended trial: its hyperparameters, the best value after each of its reports, and whether ASHA stopped it.

    Higher values are better: those of a metric of which lower ones are better have the other sign.
    """

    params: Mapping[str, Any]
    best: Sequence[float]
    stopped: bool


def ranks_of(trials: Sequence[EarlierTrial]) -> list[float]:
    """The rank of each trial above 0 and below 1, the best one's next to 1; equal trials have equal ranks.

    A trial that ASHA stopped counts with its best value plus the median gain of completed trials after as many reports,
    as in the search that made it; a value that is not finite is the worst. Ranks of studies with other images, metrics
    or epochs are comparable, values are not.

    >>> ranks_of([EarlierTrial({}, [0.5, 0.9], False), EarlierTrial({}, [0.6], True), EarlierTrial({}, [0.7], False)])
    [0.5, 0.75, 0.25]
    """
    return [float(rank) / (len(trials) + 1) for rank in rankdata([_expected_end(trial, trials) for trial in trials])]


def _expected_end(trial: EarlierTrial, trials: Sequence[EarlierTrial]) -> float:
    value = trial.best[-1]
    if not math.isfinite(value):
        return -math.inf
    if not trial.stopped:
        return value
    reports = len(trial.best)
    gains = [each.best[-1] - each.best[reports - 1] for each in trials if not each.stopped and len(each.best) > reports]
    finite = [gain for gain in gains if math.isfinite(gain)]
    return value + (statistics.median(finite) if finite else 0.0)
