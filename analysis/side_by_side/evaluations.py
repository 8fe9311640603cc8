"""The scores of a study's models on its test photos, each with its interval and its number of photos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.files import read_json
from analysis.readers.frames import EXACT_INTEGERS
from analysis.schema import BEST_JSON, CONSTANT_ACC, FINAL_DIR, LAST_TRAINING, METRICS_JSON, REFIT, TEST, TRIAL_ID
from analysis.stats.shares import share_interval
from analysis.study import StudyData

FORMAT = 1  # version of metrics.json; other versions are ignored
COLUMNS = ["study", "model", "trial", "test_accuracy", "low", "high", "images", "constant_answer"]


def read_best_json(path: Path) -> dict[str, Any]:
    """The best.json of a study directory; empty if there is none."""
    try:
        content = read_json(path / BEST_JSON, inside=path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_final(path: Path) -> dict[str, Any]:
    """The final/metrics.json of a study; empty if there is none, or if it has another format."""
    try:
        content = read_json(path / FINAL_DIR / METRICS_JSON, inside=path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("format") == FORMAT and content.get(TEST) else {}


def tested(best_json: dict[str, Any]) -> tuple[float | None, int]:
    """The accuracy on the test images and their number; None and 0 if the best model was not evaluated on them."""
    test = best_json.get(TEST)
    known = test if isinstance(test, dict) else {}
    return _checked(known.get(f"{TEST}_acc"), known.get("images"))


def _checked(accuracy: Any, images: Any) -> tuple[float | None, int]:
    """A share of a number of images, if they can be that."""
    if isinstance(accuracy, bool) or not (isinstance(accuracy, float | int) and 0 <= accuracy <= 1):
        return None, 0
    if isinstance(images, bool) or not (isinstance(images, int) and 0 < images < EXACT_INTEGERS):
        return None, 0
    return float(accuracy), images


def evaluations(studies: Mapping[str, StudyData]) -> pd.DataFrame:
    """One row per model that was evaluated on test photos: the best of the search, and the final model.

    The intervals are Wilson's. Two models of which neither interval reaches into the other's differ; where they
    overlap, the same photos may still show a difference, as both saw the same ones.

    >>> evaluations({"digits": study})
    Empty DataFrame
    Columns: [study, model, trial, test_accuracy, low, high, images, constant_answer]
    Index: []
    """
    rows = [row for name, study in studies.items() if study.path is not None for row in _rows(name, study.path)]
    return pd.DataFrame(rows, columns=COLUMNS)


def is_refit(best_json: Mapping[str, Any]) -> bool:
    """Whether best.ckpt is of a last training on the training and validation photos together.

    >>> is_refit({"trial_id": "t0003", "refit": {"epochs": 60}}), is_refit({"trial_id": "t0003"})
    (True, False)
    """
    return isinstance(best_json.get(REFIT), Mapping)


def is_trained_last(best_json: Mapping[str, Any]) -> bool:
    """Whether best.ckpt is of the last training of a time budget, on whatever photos."""
    return best_json.get(LAST_TRAINING) is True or is_refit(best_json)


def _rows(name: str, path: Path) -> list[tuple[Any, ...]]:
    best, final = read_best_json(path), read_final(path)
    accuracy, images = tested(best)
    of_search = "last training" if is_trained_last(best) else "best of the search"
    rows = [_row(name, of_search, best.get(TRIAL_ID), accuracy, images, best)] if accuracy is not None else []
    test = final.get(TEST)
    if isinstance(test, dict):
        accuracy, images = _checked(test.get("accuracy"), test.get("images"))
        winner = final.get("winner")
        trial = winner.get(TRIAL_ID) if isinstance(winner, dict) else None
        if accuracy is not None:
            rows.append(_row(name, "final model", trial, accuracy, images, final))
    return rows


def _row(name: str, model: str, trial: Any, accuracy: float, images: int, source: dict[str, Any]) -> tuple[Any, ...]:
    constant = source[TEST].get(CONSTANT_ACC)
    share = constant if isinstance(constant, float) else float("nan")
    return name, model, str(trial), accuracy, *share_interval(accuracy, images), images, share
