"""Learning rates over a training, as a function of the step alone."""

import math


def cosine_factor(step: int, total: int, warmup: int) -> float:
    """What the learning rate is multiplied by at ``step`` (from 0) of ``total``.

    It rises in a straight line to 1 at step ``warmup``, never being 0, and falls along half a cosine to 0 at ``total``,
    which is the step after the last one. Behind ``total`` it stays 0.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if step >= total:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
