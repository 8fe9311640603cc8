"""What trials cost: training, the time before it, and money."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.readers.preparation import read_preparation
from analysis.schema import PREPARATION, SECONDS, TRIAL_ID
from analysis.study import StudyData

HOUR = 3600.0  # seconds


def with_preparation(study: StudyData) -> pd.DataFrame:
    """The trials with PREPARATION: the seconds before the first epoch, NaN where they are not recorded.

    In these seconds a trial computes the features of frozen layers or waits for another trial that does, reads weights,
    and decodes photos where the search has not done so before.

    >>> bool(with_preparation(study)["preparation_seconds"].isna().all())
    True
    """
    known = read_preparation(study.path) if study.path is not None else pd.Series(dtype=float)
    return study.trials.assign(**{PREPARATION: study.trials[TRIAL_ID].map(known).astype(float)})


def slot_seconds(trials: pd.DataFrame) -> pd.Series:
    """How long each trial occupied its slot: ``seconds``, and the time before the first epoch where it is known."""
    return trials[SECONDS] + trials[PREPARATION].fillna(0.0)


def seconds_alone(group: pd.DataFrame, best: pd.Series) -> float:
    """How long the trial ``best`` takes on its own, without the other trials of its ``group``.

    Trials share features: the first one computes them, the others find them. On its own a trial computes them itself,
    so the longest preparation of the group is added to its training time.
    """
    longest = group[PREPARATION].max()
    return float(best[SECONDS]) + (0.0 if np.isnan(longest) else float(longest))


def price(seconds: pd.Series, per_hour: float) -> pd.Series:
    """What ``seconds`` cost at a price ``per_hour`` of one trial.

    >>> price(pd.Series([1800.0]), per_hour=2.5).tolist()
    [1.25]
    """
    return seconds / HOUR * per_hour


def describe_unknown(studies: Mapping[str, StudyData]) -> str:
    """A sentence that names the studies whose seconds lack the time before the first epoch; "" if all have it.

    >>> describe_unknown({"digits": study})
    'The seconds of digits leave out the time before the first epoch (such as for features): it is not recorded.'
    """
    unknown = [name for name, study in studies.items() if with_preparation(study)[PREPARATION].isna().all()]
    if not unknown:
        return ""
    return (
        f"The seconds of {', '.join(unknown)} leave out the time before the first epoch (such as for "
        "features): it is not recorded."
    )
