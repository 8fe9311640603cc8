"""Read studies into pandas and say what they can tell; imports neither torch nor ray, and pandas when it is needed."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.study import Study, load_study

__all__ = ["Study", "load_study"]


def __getattr__(name: str) -> Any:
    """``Study`` and ``load_study``, which are loaded with pandas once somebody asks for them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from analysis import study

    return getattr(study, name)
