"""What the studies of a comparison count as an epoch."""

from collections.abc import Mapping

from analysis.schema import RECIPE_EPOCH
from analysis.study import StudyData
from analysis.wording import join_words


def describe_units(studies: Mapping[str, StudyData]) -> str:
    """A sentence if the epochs of the studies are not the same thing; "" if they are.

    >>> describe_units({"first": study})
    ''
    """
    units = {name: study.unit for name, study in studies.items()}
    recipe = any(study.step == RECIPE_EPOCH for study in studies.values())
    if len(studies) < 2 or (len(set(units.values())) == 1 and not recipe):
        return ""
    counted = join_words([f"{name} counts {unit}s" for name, unit in units.items()])
    own = "; a recipe epoch is what an epoch of the study's own recipe costs" if recipe else ""
    return f"Epochs: {counted}{own}. Compare seconds instead."
