"""best.json: what it says, whether that is well formed, and which model it is about."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from inat.config.objective import OBJECTIVES
from inat.constants import (
    BEST_JSON,
    CHEAPER_THAN,
    EPOCHS,
    LAST_TRAINING,
    PARETO_FRONT,
    REFIT,
    TEST,
    TRIAL_ID,
    VALIDATION_NOISE,
)
from inat.errors import StudyError
from inat.study.atomic_io import parse_json_object
from inat.study.checkpoint_file import is_intact, sha256_of
from inat.study.events import is_number
from inat.study.trial import Trial

FOLD_VALUES = "fold_values"  # key in best.json: of which the best value is the mean
SHA256 = "sha256"  # key in best.json: of best.ckpt


def _are_scores(value: Any) -> bool:
    return isinstance(value, dict) and is_number(value.get(f"{TEST}_acc")) and is_number(value.get("images", 0))


# What the values of best.json must be; somebody else may have written it.
MODELS_TESTED: Final = "models_tested"  # of best.json: how many models of the study have been tested so far
_FITS: Mapping[str, Callable[[Any], bool]] = {
    TRIAL_ID: lambda value: isinstance(value, str),
    **{objective.best_column: is_number for objective in OBJECTIVES.values()},
    "params": lambda value: isinstance(value, dict),
    SHA256: lambda value: isinstance(value, str),
    VALIDATION_NOISE: lambda value: isinstance(value, dict),
    PARETO_FRONT: lambda value: isinstance(value, list),
    CHEAPER_THAN: lambda value: isinstance(value, dict),
    REFIT: lambda value: isinstance(value, dict) and type(value.get(EPOCHS)) is int,
    TEST: _are_scores,
    MODELS_TESTED: lambda value: type(value) is int and value >= 0,
}


def read_best(directory: Path) -> dict[str, Any]:
    """Read best.json of a study directory, {} if there is none; raise StudyError if it is damaged."""
    path = directory / BEST_JSON
    if not path.exists():
        return {}
    content = parse_json_object(path.read_bytes())
    if content is None or not all(fits(content[name]) for name, fits in _FITS.items() if name in content):
        raise StudyError(f"{path} is damaged; remove it, and the search writes it again")
    return content


def best_or_nothing(directory: Path) -> dict[str, Any]:
    """The same, but {} for a damaged one."""
    try:
        return read_best(directory)
    except StudyError:
        return {}


def is_as_written(target: Path, written: dict[str, Any]) -> bool:
    """Whether best.ckpt is the file that best.json was written with; earlier versions wrote no checksum."""
    if SHA256 in written:
        return target.exists() and sha256_of(target) == written[SHA256]
    return is_intact(target)


def is_of_last_training(written: Mapping[str, Any]) -> bool:
    """Whether best.json is about a last training, with its own values or beside those of the trial that it repeats."""
    return written.get(LAST_TRAINING) is True or REFIT in written


def is_about(written: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Whether best.json has all of ``content``, and is not about another kind of training."""
    return all(written.get(name) == content.get(name) for name in (*content, REFIT, LAST_TRAINING))


def refit_json(refit: Trial) -> dict[str, Any]:
    """What best.json says about the ``refit`` whose weights best.ckpt has."""
    return {EPOCHS: refit.epochs, "params": refit.params}
