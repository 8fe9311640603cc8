"""How a time budget is divided: the numbers, and what depends on how many photos there are."""

import math
from typing import Final

SIDES: Final = (32, 48, 64, 96, 128, 160, 192, 224)  # px, of images that a plan may choose
COMPARED_PARTS: Final = (1 / 2, 1 / 4)  # of the largest side that the time is enough for: sizes to compare it with
COMPARISON_SHARE: Final = 0.15  # of the time budget that comparing image sizes takes at most
LAST_SHARE: Final = 0.4  # of the time for training that the last training takes at most
SAFETY: Final = 1.15  # an epoch is planned to take this many times what was measured
SPARE: Final = 1.5  # the last training has time for a winner that costs this many times the recipe
FEWEST_TRIALS: Final = 4  # with fewer, there is no search
WANTED_TRIALS: Final = 12  # trials are made shorter until this many fit
MOST_TRIALS: Final = 200
LONGER: Final = 1.5  # a training without a search may have this many times the planned epochs, if they take less time
REPORT_SECONDS: Final = 1.0  # a training ends so long before its deadline, to report its last epoch
SEARCH_SHARES: Final = (1.0, 2 / 3, 1 / 2, 1 / 3)  # of the last training's epochs, which a trial of the search may have
FEWEST_SEARCH_EPOCHS: Final = 5  # a network is not ranked by less
LONG_SEARCH: Final = 18  # epochs from which on ASHA compares trials twice
# Two trainings side by side share caches and the memory bus: an estimate, until the trials' own seconds are known.
CONTENTION: Final = 1.2
GPU_OVERLAP: Final = 0.6  # n trials on one GPU take this times n as long as one alone; an estimate
START_SECONDS: Final = 12.0  # Ray and its workers, which load torch; before the search and before the last training
MOST_START_SECONDS: Final = 90.0  # on a machine that is busy with other programs
START_MARGIN: Final = 1.5  # a time budget that is too short is answered with this many times what was measured
END_SECONDS: Final = 15.0  # report
# A single training with enough epochs for it is of a network with so many times the filters: on 16,000 images of
# CIFAR-10, 12 epochs of it have 0.8675 (0.8640 at the end), 24 of the recipe, which cost as much, 0.8565 (0.8470;
# validation, 1 seed, standard error 0.5 points). On 1,815 photos, which have never enough epochs, both are equal.
WIDER: Final = 1.5
_REFERENCE = 8000  # photos, for which the numbers of epochs below are meant


def enough_epochs(images: int) -> int:
    """Epochs that the last training needs at least before larger images are worth their time.

    >>> [enough_epochs(images) for images in (500, 2000, 8000, 50_000)]
    [40, 32, 16, 10]
    """
    return max(10, min(40, round(16 * math.sqrt(_REFERENCE / max(1, images)))))


def most_epochs(images: int) -> int:
    """Epochs beyond which the last training gains nothing that would be worth its time.

    >>> [most_epochs(images) for images in (500, 8000, 50_000)]
    [60, 60, 40]
    """
    return min(60, 4 * enough_epochs(images))


def grace_period(epochs: int, factor: int) -> int:
    """Epochs before ASHA compares trials that train ``epochs``: a third of them, or a ninth of many.

    >>> [grace_period(epochs, factor=3) for epochs in (1, 5, 9, 27)]
    [1, 2, 3, 3]
    """
    parts = factor if epochs < LONG_SEARCH else factor**2
    return max(1, math.ceil(epochs / parts))


def contention(trials: int, gpus: int) -> float:
    """How many times as long an epoch takes beside the other of ``trials`` as alone; ``gpus`` are those they share.

    >>> contention(1, 0), contention(2, 0), contention(4, 2), contention(8, 2)
    (1.0, 1.2, 1.2, 2.4)
    """
    if gpus:
        return max(1.0, GPU_OVERLAP * trials / gpus)
    return CONTENTION if trials > 1 else 1.0


def start_seconds(loading: float) -> float:
    """Seconds until Ray and its workers are ready: about as long as this process needed itself, ``loading``.

    >>> start_seconds(5.0), start_seconds(40.0)
    (12.0, 40.0)
    """
    return max(START_SECONDS, min(loading, MOST_START_SECONDS))


def end_seconds(loading: float) -> float:
    """Seconds of the report, which other programs slow down as they do the start of a process.

    >>> end_seconds(5.0), end_seconds(40.0)
    (15.0, 40.0)
    """
    return max(END_SECONDS, min(loading, MOST_START_SECONDS))
