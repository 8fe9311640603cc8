"""The greedy choice of an ensemble: which models, with which weights, have the best mean of their probabilities.

Source: Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inat.config.objective import Objective
from inat.constants import VAL_LOSS
from inat.models.validation_scores import ValidationScores
from inat.training.ensemble import MAX_MEMBERS

MAX_PICKS = 20  # a model picked twice has twice the weight: steps of 1/20 are fine enough
LOSS_DIGITS = 4  # a smaller gain of the cross entropy is none


@dataclass(frozen=True, slots=True)
class Selection:
    """Indices of models in the order in which they were picked, with repetitions."""

    picks: tuple[int, ...]

    @property
    def counts(self) -> dict[int, int]:
        """How often each member was picked, in the order of the first pick; without a common divisor."""
        counts = Counter(self.picks)
        divisor = math.gcd(*counts.values())
        return {member: count // divisor for member, count in counts.items()}

    @property
    def weights(self) -> dict[int, float]:
        """The share of each member in the mean."""
        counts = self.counts
        return {member: count / sum(counts.values()) for member, count in counts.items()}


def select_greedily(
    probabilities: Sequence[Tensor], labels: Tensor, objective: Objective, max_members: int = MAX_MEMBERS
) -> Selection:
    """Choose models by the mean of their ``probabilities``, each (N, classes), on a split with ``labels`` (N,).

    Begin with the best model. Then add the one, which may be a member already, with which the mean has the best value
    of ``objective``; of equal values, the one with the lower cross entropy, then the first. Stop where neither the
    value nor, at an equal value, the cross entropy improves: a split of few images gives many sets the same accuracy.
    So the value is never worse than that of the best model alone. There are at most ``max_members`` different members.
    """
    picks: list[int] = []
    total, best = torch.zeros_like(probabilities[0]), (-math.inf, -math.inf)
    while len(picks) < MAX_PICKS:
        full = len(set(picks)) >= max_members
        open_to = sorted(set(picks)) if full else range(len(probabilities))
        ranks = {i: _rank((total + probabilities[i]) / (len(picks) + 1), labels, objective) for i in open_to}
        found = max(open_to, key=lambda i: (ranks[i], -i))
        if ranks[found] <= best:
            break
        best = ranks[found]
        total = total + probabilities[found]
        picks.append(found)
    return Selection(tuple(picks))


def mean_probabilities(probabilities: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The mean (N, classes) of the ``probabilities`` of several models with ``weights`` that sum to 1."""
    return torch.stack([weight * one for weight, one in zip(weights, probabilities, strict=True)]).sum(0)


def objective_value(probabilities: Tensor, labels: Tensor, objective: Objective) -> float:
    """The value of a metric of the validation for ``probabilities`` (N, classes) and true ``labels`` (N,)."""
    if objective.column == VAL_LOSS:
        return cross_entropy(probabilities, labels)
    scores = ValidationScores(probabilities.shape[1])
    scores.update(probabilities, labels)
    return float(scores.compute()[objective.column])


def cross_entropy(probabilities: Tensor, labels: Tensor) -> float:
    """The mean of -log of the probability (N, classes) of the true class; a probability of 0 counts as 1e-38."""
    true = probabilities.gather(1, labels[:, None])
    return -float(true.clamp(min=torch.finfo(torch.float32).tiny).log().mean())


def _rank(probabilities: Tensor, labels: Tensor, objective: Objective) -> tuple[float, float]:
    loss = round(cross_entropy(probabilities, labels), LOSS_DIGITS)
    if objective.column == VAL_LOSS:
        return -loss, -loss
    return objective.sign * round(objective_value(probabilities, labels, objective), 9), -loss
