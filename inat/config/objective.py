"""What a search optimises: the objective of its early stopping, its sampler and all its choices among trials."""

from collections.abc import Mapping
from typing import Any

from analysis import objective as shared
from analysis.objective import ACCURACY, BALANCED_ACCURACY, OBJECTIVES, TOP2, Objective
from inat.errors import StudyError

__all__ = ["ACCURACY", "BALANCED_ACCURACY", "OBJECTIVES", "TOP2", "Objective", "objective_of"]


def objective_of(info: Mapping[str, Any]) -> Objective:
    """The objective of a study with this study.json; studies of earlier versions optimised the accuracy.

    Raises StudyError if this version does not know the metric.
    """
    try:
        return shared.objective_of(info)
    except (KeyError, TypeError) as error:
        name = info["config"]["metric"]
        raise StudyError(
            f"study.json names the unknown metric {name!r:.60}; choose from {', '.join(OBJECTIVES)}, or update this "
            "program if a newer version wrote the study"
        ) from error
