"""The value of each metric for predicted probabilities of validation images, and its 95 % interval."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.stats.shares import share_interval
from inat.config.objective import ACCURACY, TOP2, Objective
from inat.constants import VAL_LOSS
from inat.models.validation_scores import ValidationScores

DRAWS, SEED = 500, 0  # of the bootstrap
LEAST_SHARE = 1e-6  # a vote of nearest neighbours may be 0, and the logarithm of 0 is infinite


def value_of(objective: Objective, logits: Tensor, labels: Tensor) -> float:
    """The metric of logits (N, classes), or logarithms of probabilities, for labels (N,)."""
    if objective.column == VAL_LOSS:
        return float(torch.nn.functional.cross_entropy(logits, labels))
    scores = ValidationScores(logits.shape[1]).to(logits.device)
    scores.update(logits, labels)
    return float(scores.compute()[objective.column])


def as_logits(shares: Tensor) -> Tensor:
    """Logarithms of shares of votes (N, classes)."""
    return shares.clamp(min=LEAST_SHARE).log()


def interval_of(objective: Objective, logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The 95 % interval over validation images: Wilson's for shares of images, else a bootstrap's percentiles."""
    if objective in (ACCURACY, TOP2):
        return share_interval(value_of(objective, logits, labels), len(labels))
    rows, draws = np.random.default_rng(SEED), np.empty(DRAWS)
    host, true = logits.cpu(), labels.cpu()
    for draw in range(DRAWS):
        chosen = torch.from_numpy(rows.integers(len(true), size=len(true)))
        draws[draw] = value_of(objective, host[chosen], true[chosen])
    return _percentiles(draws)


def _percentiles(draws: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)
