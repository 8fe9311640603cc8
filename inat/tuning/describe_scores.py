"""What a search prints about the scores of its best network on the held-out test split."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from analysis.class_counts import constant_score
from inat.config.objective import ACCURACY, OBJECTIVES, objective_of
from inat.constants import CONSTANT_ACC, TEST, VAL


def describe_test(
    scores: Mapping[str, float] | None, info: Mapping[str, Any] = MappingProxyType({}), models: int = 1
) -> str:
    """Describe the scores on the held-out test split, that of the study's metric first; None: there is no checkpoint.

    ``info`` is the content of study.json; ``models`` of the study have been tested, the best one of each run.
    """
    if scores is None:
        return "test    no checkpoint to test"
    known = {
        objective: value
        for objective in OBJECTIVES.values()
        if (value := scores.get(objective.column.replace(VAL, TEST))) is not None
    }
    objective = objective_of(info)
    first = objective if objective in known else ACCURACY  # best.json of earlier versions has no more than this
    constant = scores.get(CONSTANT_ACC) if first is ACCURACY else constant_score(info, first.column, TEST)
    beside_it = "" if constant is None else f" (a constant answer scores {constant:.4f})"
    name = "" if objective is ACCURACY else f" {first.short}"
    images = scores.get("images", "the")
    line = f"test    {known.pop(first):.4f}{name} on {images} held-out images, evaluated once{beside_it}"
    if models > 1:
        line += f"\n        {models} best models of this study have been tested: choose none of them by its test score"
    others = ", ".join(f"{objective.short} {value:.4f}" for objective, value in known.items())
    return f"{line}\n        {others}" if others else line
