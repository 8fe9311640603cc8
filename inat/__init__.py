"""Hyperparameter search for image classifiers: data, models, training and the Ray Tune search over them.

    from inat import SearchConfig, finalize, load_model, search

    study = search(SearchConfig(data="digits", num_samples=8))
    model = finalize(study)
    load_model(model).predict("photo.jpg")

The names below are imported when they are first used, so that `import inat` loads neither torch nor Ray.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inat.api.final import FinalModel
    from inat.api.final import finalize as finalize
    from inat.api.model import TrainedModel, load_model
    from inat.api.search import finetune, open_study, search
    from inat.api.study import BestTrial, SearchedStudy
    from inat.config.finetune import FinetuneConfig
    from inat.config.search import SearchConfig
    from inat.errors import InatError

__all__ = [
    "BestTrial", "FinalModel", "FinetuneConfig", "InatError", "SearchConfig", "SearchedStudy", "TrainedModel",
    "finalize", "finetune", "load_model", "open_study", "search",
]  # fmt: skip
_PLACES = {
    "search": "api.search", "finetune": "api.search", "open_study": "api.search",
    "BestTrial": "api.study", "SearchedStudy": "api.study",
    "FinalModel": "api.final",
    "load_model": "api.model", "TrainedModel": "api.model",
    "SearchConfig": "config.search", "FinetuneConfig": "config.finetune", "InatError": "errors",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import one of the names in ``__all__``."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallablePackage(ModuleType):
    """The package inat.finalize, which is the function ``finalize`` too: one name cannot stand for two objects."""

    def __call__(self, study: Any, *, verbose: bool = True, **options: Any) -> "FinalModel":
        """See ``inat.api.final.finalize``."""
        from inat.api import final

        return final.finalize(study, verbose=verbose, **options)


importlib.import_module("inat.finalize").__class__ = _CallablePackage
