"""What came of a search that has ended: its last training and its test, in one line."""

from pathlib import Path
from typing import Any

from analysis.wording import counted
from inat.constants import EPOCHS, LAST_TRAINING, REFIT, TEST
from inat.errors import StudyError
from inat.study.activity import last_has_ended
from inat.tuning.best_json import read_best


def describe_result(directory: Path) -> str:
    """The epochs of the last training, if there was one, and the test accuracy; "" if neither is known."""
    try:
        best = read_best(directory)
    except StudyError:
        return ""
    return "; ".join(part for part in (_last(directory, best), _tested(best)) if part)


def _last(directory: Path, best: dict[str, Any]) -> str:
    if REFIT in best:
        return f"last training {counted(best[REFIT][EPOCHS], 'epoch')}"
    if LAST_TRAINING in best and isinstance(best.get(EPOCHS), int):
        return f"last training {counted(best[EPOCHS], 'epoch')}"
    return "last training not used" if last_has_ended(directory) else ""


def _tested(best: dict[str, Any]) -> str:
    if TEST not in best:
        return ""
    images = best[TEST].get("images")
    on = f" on {counted(images, 'photo')}" if images else ""
    return f"test accuracy {best[TEST][f'{TEST}_acc']:.4f}{on}"
