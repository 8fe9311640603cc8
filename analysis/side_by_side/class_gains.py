"""What another model gains in each class: differences of the recalls of final models on the test photos."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.schema import TEST
from analysis.side_by_side.evaluations import read_final
from analysis.stats.shares import share_interval
from analysis.study import StudyData

COLUMNS = ["class", "study", "against", "images", "recall", "other_recall", "gain", "low", "high"]
Recalls = dict[str, tuple[float, int]]  # recall and number of images of each class


def class_gains(studies: Mapping[str, StudyData]) -> pd.DataFrame:
    """The recall of each class in each study, minus that in the first study with a final model, most gained first.

    Both are the final models that ``python -m inat.finalize`` evaluates once on the test photos. The interval of a gain
    is Newcombe's from Wilson's intervals of both recalls (Statistics in Medicine 17, 1998, method 10). It takes the
    models for independent although both saw the same photos, so it is rather too wide. It is for one class alone: of 20
    classes without a difference, one has an interval without 0.

    >>> len(class_gains({"first": study, "second": study}))
    0
    """
    known = {name: found for name, study in studies.items() if (found := _recalls(study))}
    if len(known) < 2:
        return pd.DataFrame(columns=COLUMNS)
    first, *others = known
    rows = [
        _row(label, other, first, known[other][label], known[first][label])
        for other in others
        for label in known[other]
        if label in known[first]
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["study", "gain"], ascending=[True, False], kind="stable", ignore_index=True)


def _recalls(study: StudyData) -> Recalls:
    test = read_final(study.path).get(TEST) if study.path is not None else None
    rows = test.get("per_class") if isinstance(test, dict) else None
    found: Recalls = {}
    for row in rows if isinstance(rows, list) else []:
        recall, images = (row.get("recall"), row.get("support")) if isinstance(row, dict) else (None, None)
        if isinstance(recall, int | float) and 0 <= recall <= 1 and isinstance(images, int) and images > 0:
            found[str(row.get("class"))] = float(recall), images
    return found


def _row(label: str, study: str, against: str, one: tuple[float, int], other: tuple[float, int]) -> tuple[Any, ...]:
    gain, low, high = difference_of_shares(*one, *other)
    return label, study, against, one[1], one[0], other[0], gain, low, high


def difference_of_shares(first: float, n_first: int, second: float, n_second: int) -> tuple[float, float, float]:
    """The difference of two shares and Newcombe's interval of it.

    >>> [round(value, 4) for value in difference_of_shares(56 / 70, 70, 48 / 80, 80)]
    [0.2, 0.0524, 0.3339]
    """
    (low, high), (low_second, high_second) = share_interval(first, n_first), share_interval(second, n_second)
    gain = first - second
    below = np.hypot(first - low, high_second - second)
    above = np.hypot(high - first, second - low_second)
    return gain, float(gain - below), float(gain + above)
