"""What fixed features tell about their classes: an exact linear probe, and nearest neighbours.

Both need seconds where training a head takes epochs. They judge features as they are; what a network reaches once its
own stages train is another question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4)  # tried from strong to weak, each from the solution before
HELD_OUT = 5  # every fifth training image of a class decides on the penalty
STEPS, MEMORY = 200, 10  # of L-BFGS
TOLERANCE, ROUGH = 1e-5, 1e-3  # largest entry of the gradient at the solution, and while penalties are compared
NEIGHBOURS, TEMPERATURE = 20, 0.07  # of DINO's evaluation (https://arxiv.org/abs/2104.14294)
CHUNK = 1024  # validation images whose similarities to all training images are in memory at a time


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """Logits (N, classes) of features (N, D) are ``features @ weight + bias``; ``penalty`` was chosen for it."""

    weight: Tensor
    bias: Tensor
    penalty: float

    def __call__(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, D)."""
        return features.to(self.weight.dtype) @ self.weight + self.bias


def fit_probe(
    features: Tensor, labels: Tensor, num_classes: int, class_weights: Sequence[float] | None = None
) -> LinearProbe:
    """Fit multinomial logistic regression on standardised features (N, D), with the penalty that suits them best.

    The penalty is chosen by the cross entropy of held-out training images, every fifth of each class, so validation
    images decide nothing. Without such images, the strongest one is taken. ``class_weights`` weight the loss.

    >>> features, labels = torch.tensor([[0.0], [0.2], [2.0], [2.2]]), torch.tensor([0, 0, 1, 1])
    >>> fit_probe(features, labels, 2)(torch.tensor([[0.1], [3.0]])).argmax(1).tolist()
    [0, 1]
    """
    per_class = None if class_weights is None else torch.tensor(class_weights, device=features.device)
    shift, scale = _standardisation(features)
    weights = torch.ones_like(features[:, 0]) if per_class is None else per_class.to(features.dtype)[labels]
    problem = rotated((features - shift) / scale, labels, weights, num_classes)
    penalty = choose_penalty(problem)
    weight, bias = problem.in_features(*solve(problem, penalty))
    weight = weight / scale[:, None]
    return LinearProbe(weight, bias - shift @ weight, penalty)


def _standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; 1 for a column that is constant but for rounding."""
    scale = features.std(0, correction=0)
    varies = scale > 1e-6 * features.abs().amax(0)  # relative: the features of some networks are tiny
    return features.mean(0), torch.where(varies, scale, torch.ones_like(scale))


@dataclass(frozen=True, slots=True)
class Problem:
    """A regression in the principal axes of its inputs: ``inputs`` (N, R) are the standardised features @ ``axes``.

    ``axes`` (D, R) are orthonormal and ``curvature`` (R,) is the mean square along each, so the penalty and the minimum
    are those of the features themselves. L-BFGS steps along features need some hundred iterations, as these are
    correlated; steps along the axes, each in its own scale, need about 20.
    """

    inputs: Tensor
    labels: Tensor
    weights: Tensor
    axes: Tensor
    curvature: Tensor
    num_classes: int

    def part(self, rows: Tensor) -> "Problem":
        """The same regression on some of the images."""
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows], weights=self.weights[rows])

    def losses(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Cross entropy (N,) of each image, times its weight."""
        logits = self.inputs @ weight + bias
        return functional.cross_entropy(logits, self.labels, reduction="none") * self.weights

    def in_features(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The solution for standardised features."""
        return self.axes @ weight, bias


def rotated(inputs: Tensor, labels: Tensor, weights: Tensor, num_classes: int) -> Problem:
    """The regression of ``labels`` on standardised ``inputs`` (N, D) in their principal axes."""
    span = torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
    if inputs.shape[0] < inputs.shape[1]:  # the weights lie in the span of the images
        span = torch.linalg.qr(inputs.T)[0]
    reduced = inputs @ span
    moments = reduced.T.double() @ reduced.double() / len(inputs)
    curvature, axes = torch.linalg.eigh(moments)
    axes = span @ axes.to(inputs.dtype)
    return Problem(inputs @ axes, labels, weights, axes, curvature.clamp(min=0).to(inputs.dtype), num_classes)


def choose_penalty(problem: Problem) -> float:
    """The penalty with the lowest cross entropy on the held-out fifth of the training images."""
    held_out = held_out_rows(problem.labels)
    if not bool(held_out.any()):
        return PENALTIES[0]
    kept, judge = problem.part(~held_out), problem.part(held_out)
    best, start = (float("inf"), PENALTIES[0]), None
    for penalty in PENALTIES:
        start = solve(kept, penalty, start, ROUGH)
        loss = float(judge.losses(*start).sum())
        if loss > best[0]:
            break  # the curve has one minimum, and weak penalties take the longest
        best = (loss, penalty)
    return best[1]


def held_out_rows(labels: Tensor) -> Tensor:
    """A mask (N,) of every fifth image of each class, in order; a class with fewer than five has none.

    >>> held_out_rows(torch.tensor([0, 0, 0, 0, 0, 1, 1])).tolist()
    [False, False, False, False, True, False, False]
    """
    position = torch.zeros_like(labels)
    for label in labels.unique():
        of_class = labels == label
        position[of_class] = torch.arange(int(of_class.sum()), device=labels.device)
    return position % HELD_OUT == HELD_OUT - 1


def solve(
    problem: Problem, penalty: float, start: tuple[Tensor, Tensor] | None = None, tolerance: float = TOLERANCE
) -> tuple[Tensor, Tensor]:
    """Minimise mean weighted cross entropy + penalty / 2 * ||weight||^2 by L-BFGS; return weight (R, C) and bias (C,).

    The bias has no penalty. The function is strictly convex in the weight, so there is one minimum; ``start`` is where
    to begin.
    """
    scale = (problem.curvature / problem.num_classes + penalty).rsqrt()[:, None]  # one step is about right on each axis
    first = problem.inputs.new_zeros((len(scale), problem.num_classes)) if start is None else start[0] / scale
    bias = problem.inputs.new_zeros(problem.num_classes) if start is None else start[1]
    scaled, bias = first.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [scaled, bias],
        max_iter=STEPS,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=MEMORY,
        line_search_fn="strong_wolfe",
    )
    total = problem.weights.sum()

    def closure() -> Tensor:
        optimizer.zero_grad()
        weight = scaled * scale
        loss = problem.losses(weight, bias).sum() / total + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return (scaled * scale).detach(), bias.detach()


def neighbour_votes(train: Tensor, labels: Tensor, val: Tensor, num_classes: int) -> Tensor:
    """Shares (M, classes) of the votes of the nearest training features (N, D) for each of val (M, D).

    The 20 most similar by cosine vote, each with exp(similarity / 0.07).

    >>> train, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> neighbour_votes(train, labels, torch.tensor([[3.0, 0.1]]), 2).argmax(1).tolist()
    [0]
    """
    known, one_hot = functional.normalize(train, dim=1), functional.one_hot(labels, num_classes).to(train.dtype)
    votes = []
    for part in functional.normalize(val, dim=1).split(CHUNK):
        similar, nearest = (part @ known.T).topk(min(NEIGHBOURS, len(known)), dim=1)
        weights = ((similar - similar[:, :1]) / TEMPERATURE).exp()  # relative to the nearest: no overflow
        votes.append((weights[:, :, None] * one_hot[nearest]).sum(1) / weights.sum(1, keepdim=True))
    return torch.cat(votes)
