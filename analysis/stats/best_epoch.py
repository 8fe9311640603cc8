"""How much of a score comes from choosing the best epoch by the same images that the score is measured on.

The best of many epochs is partly the luckiest one. Where the answers of each epoch are kept, the luck can be measured:
choose the best epoch by one half of the images and measure it on the other half, which had no part in the choice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.stats.resampling import SEED

SPLITS = 200  # random halves of the images, each of which chooses once


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """The accuracy in the best epoch (``chosen``), the same measured on other images (``honest``), and in the last."""

    chosen: float
    honest: float
    last: float

    @property
    def optimism(self) -> float:
        """By how much ``chosen`` is too high; never below 0, as the best epoch cannot be unlucky on average."""
        return max(0.0, self.chosen - self.honest)


def best_epoch(right: npt.NDArray[np.bool_], splits: int = SPLITS, seed: int = SEED) -> BestEpoch:
    """What the best epoch of a training is worth; ``right`` (E, N) says which of N images each epoch had right.

    ``honest`` is the mean over random halves, both ways. Half of the images choose a little worse than all of them, so
    it is a little too low where epochs truly differ. Needs two images.

    >>> lucky = np.random.default_rng(1).random((20, 300)) < 0.7  # 20 epochs, none of which is better than another
    >>> found = best_epoch(lucky)
    >>> round(found.chosen, 2), round(found.honest, 2)
    (0.76, 0.71)
    """
    images = right.shape[1]
    random, answers = np.random.default_rng(seed), right.astype(np.float64)
    order = random.permuted(np.tile(np.arange(images), (splits, 1)), axis=1)
    halves = np.zeros((splits, images))
    np.put_along_axis(halves, order[:, : images // 2], 1.0, axis=1)
    hits = 0.0
    for chooses in (halves, 1 - halves):
        chosen = (chooses @ answers.T).argmax(axis=1)  # the first of equal epochs, as in a training
        hits += float(((1 - chooses) * answers[chosen]).sum())
    accuracies = answers.mean(axis=1)
    return BestEpoch(float(accuracies.max()), hits / (splits * images), float(accuracies[-1]))
