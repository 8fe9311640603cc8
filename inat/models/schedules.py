"""Learning rate schedules as pure functions: the factor on the learning rate at each step of a training."""

import math

from inat.config.optim import TRAPEZOID, OptimConfig


def two_phase_factor(step: float, total: int, switch: int, optim: OptimConfig) -> float:
    """The factor of the schedule of ``optim`` if a new curve begins at step ``switch`` of ``total``.

    The shares of ``optim`` are those of the steps of each of the two phases. A ``switch`` of 0 means one phase.
    """
    start, end = (0, switch) if step < switch else (switch, total)
    steps = end - start
    warmup = round(optim.warmup_share * steps)
    if optim.schedule == TRAPEZOID:
        return trapezoid_factor(step - start, steps, warmup, round(optim.decay_share * steps))
    return cosine_factor(step - start, steps, warmup)


def cosine_factor(step: float, total: int, warmup: int) -> float:
    """The factor on the learning rate at ``step`` (from 0) of ``total`` steps: linear warm-up, then half a cosine.

    The factor rises linearly to 1 at step ``warmup``, without being 0, then falls along half a cosine to 0 at step
    ``total``, the step after the last one. From ``total`` on it is 0. The cosine is that of SGDR without restarts
    (https://arxiv.org/abs/1608.03983).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if step >= total:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def trapezoid_factor(step: float, total: int, warmup: int, decay: int) -> float:
    """The factor on the learning rate at ``step`` (from 0) of ``total`` steps: linear warm-up, 1, linear decay.

    The factor rises to 1 at step ``warmup`` as that of ``cosine_factor``, and falls over the last ``decay`` steps to 0
    at step ``total``, the step after the last one. Where both meet, the smaller factor counts. The weights before the
    decay do not depend on ``total``: warmup-stable-decay (https://arxiv.org/abs/2404.06395).

    >>> [trapezoid_factor(step, total=8, warmup=1, decay=4) for step in range(9)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step >= total:
        return 0.0
    falling = (total - step) / decay if decay else 1.0
    return min(1.0, (step + 1) / (warmup + 1), falling)
