"""Which trials are controls: they train to their end whatever ASHA says, so that its cost can be measured."""

import numpy as np

_PURPOSE = 2  # beside those of the searcher's seeds: 0 for the sampler, 1 for the trial


def is_control(seed: int, number: int, fraction: float) -> bool:
    """Whether the trial with this ``number`` is a control, of which there are ``fraction`` of all on average.

    Each trial is chosen on its own, by nothing but the seed of the study and its number: a Bernoulli sample, so the
    choice says nothing about the hyperparameters, and a resumed search chooses the same trials.

    >>> [number for number in range(60) if is_control(seed=0, number=number, fraction=0.05)]
    [7]
    """
    if fraction <= 0:
        return False
    drawn = np.random.SeedSequence((seed, number, _PURPOSE)).generate_state(1)[0]
    return bool(drawn < fraction * 2**32)
