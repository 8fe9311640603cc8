"""The section about what the best model predicts on the validation images: confusions and confident mistakes."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.final import plot_confusion
from analysis.readers.predictions import Mistake, Predictions, read_predictions
from analysis.report.document import Gallery, Item, Picture, ReportFigure, Section, section
from analysis.report.sections.data import MAX_NAME, to_picture
from analysis.schema import PREDICTIONS_JSON, STUDY_JSON
from analysis.side_by_side.evaluations import is_refit
from analysis.wording import counted

MAX_CLASSES = 100  # of a confusion matrix; with more, the cells are too small to see
NOT_YET = (
    f"it has no {PREDICTIONS_JSON} of its best model, which a search writes at its end. A search of an earlier "
    "version, one that is running, and one whose weights of the search are lost have none"
)
OF_THE_SEARCH = (
    "The weights are those of the search: the last training has learnt from these photos, so its mistakes on them say "
    "nothing."
)
OPTIMISTIC = "Optimistic: the model was chosen by these photos. inat.finalize counts the mistakes on the test photos."


def predictions_section(path: Path, best_json: dict[str, Any]) -> list[Section]:
    """What best.ckpt predicts on the validation images; no section for the study of another tool."""
    if not (path / STUDY_JSON).is_file():
        return []
    note = f"{OF_THE_SEARCH} {OPTIMISTIC}" if is_refit(best_json) else OPTIMISTIC
    return [section("predictions", "Predictions", lambda: _items(read_predictions(path, best_json), note))]


def _items(predictions: Predictions | None, note: str) -> list[Item]:
    if predictions is None:
        raise ValueError(NOT_YET)
    return [f"{predictions_finding(predictions)} {note}", *_matrix(predictions), *_mistakes(predictions)]


def predictions_finding(predictions: Predictions) -> str:
    """How many validation images are predicted wrongly, and the most frequent confusion."""
    photos = counted(predictions.images, "validation photo")
    of_fold = f" of fold {predictions.fold}" if predictions.fold else ""
    if not predictions.errors:
        return f"The best model predicts all {photos}{of_fold} correctly."
    wrong = {pair: count for pair, count in predictions.cells.items() if pair[0] != pair[1]}
    (true, predicted), count = max(wrong.items(), key=lambda cell: cell[1])
    images = sum(number for pair, number in predictions.cells.items() if pair[0] == true)
    names = f"{predictions.classes[true]} as {predictions.classes[predicted]}"
    return (
        f"The best model predicts {predictions.errors:,} of {photos}{of_fold} wrongly, most often {names} "
        f"({count:,} of {images:,})."
    )


def _matrix(predictions: Predictions) -> list[Item]:
    classes = len(predictions.classes)
    if classes > MAX_CLASSES:
        return [f"No confusion matrix is drawn for more than {MAX_CLASSES} classes (the study has {classes:,})."]
    data: pd.DataFrame = predictions.confusion.rename_axis("true").reset_index()
    return [
        ReportFigure(
            "val_confusion", "Confusion matrix of the validation photos",
            f"Confusion matrix. {predictions_finding(predictions)}", plot_confusion(predictions.confusion),
            "Number of validation photos; colours show the share of the true class.", data=data,
        )
    ]  # fmt: skip


def _mistakes(predictions: Predictions) -> list[Item]:
    shown = [mistake for mistake in predictions.mistakes if mistake.picture is not None]
    if not predictions.mistakes:
        return []
    if not shown:
        return [f"The pictures of the mistakes in {PREDICTIONS_JSON} cannot be read, so none are shown."]
    which = "All mistakes" if len(shown) == predictions.errors else f"The {len(shown)} most confident mistakes"
    rows = [(describe_mistake(mistake), [_as_picture(mistake)]) for mistake in shown]
    return [Gallery("val_mistakes", which, rows, "A confident mistake may be a wrong label.", narrow=True)]


def describe_mistake(mistake: Mistake) -> str:
    """The classes, the confidence and the file of a mistake.

    >>> describe_mistake(Mistake("val/cat/7.jpg", "cat", "dog", 0.987, None))
    'cat predicted as dog (99 %): val/cat/7.jpg'
    """
    name = mistake.name if len(mistake.name) <= MAX_NAME else f"…{mistake.name[1 - MAX_NAME :]}"
    return f"{mistake.true} predicted as {mistake.predicted} ({mistake.confidence:.0%}): {name}".replace("%", " %", 1)


def _as_picture(mistake: Mistake) -> Picture:
    assert mistake.picture is not None
    return to_picture(
        mistake.picture, f"A photo of {mistake.true} that is predicted as {mistake.predicted}.", quality=65
    )
