"""Read hyperparameter studies into pandas and analyse them.

    from analysis import load_study
    study = load_study("results/STUDY")

Loads neither torch nor ray. pandas is loaded on first use of ``load_study``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.study import StudyData, load_study

__all__ = ["StudyData", "load_study"]


def __getattr__(name: str) -> Any:
    """Import ``StudyData`` and ``load_study``, and pandas with them, on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from analysis import study

    return getattr(study, name)
