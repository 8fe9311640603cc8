"""Times in which no trial trained, as the search was interrupted: they are no part of the time of a search."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
BREAK = 300.0  # seconds without a trial in training from which a search counts as interrupted


def without_breaks(starts: Array, ends: Array) -> Array:
    """The ends of trainings from ``starts`` to ``ends``, in seconds, with every BREAK between them taken out.

    >>> without_breaks(np.array([0.0, 1000.0]), np.array([100.0, 1050.0])).tolist()
    [100.0, 150.0]
    """
    order = np.argsort(starts, kind="stable")
    busy_until = np.maximum.accumulate(np.concatenate([[0.0], ends[order]]))[:-1]
    idle = starts[order] - busy_until
    long = idle > BREAK
    lost = np.concatenate([[0.0], np.cumsum(idle[long])])
    moved: Array = ends - lost[np.searchsorted(starts[order][long], ends, side="right")]
    return moved
