"""The outputs of one model on one split, and the file that keeps them."""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inat.constants import TEST, VAL
from inat.errors import StudyError
from inat.study.archive import check_archive
from inat.study.atomic_io import atomic_replace

UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile)
SPLIT_NAMES = {TEST: "test", VAL: "validation"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Output of one model on the N images of a split; the field names are also the keys in the stored file.

    ``logits`` is (N, classes) float32, ``labels`` (N,), ``names`` the image files (none for the validation split).
    ``model`` is the SHA-256 of the checkpoint. ``evaluations`` counts the models of this study tested so far, including
    this one. ``arithmetic`` is the precision of the evaluation.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    model: str
    evaluations: int
    arithmetic: str


def read_evaluation(path: Path, split: str = TEST) -> Evaluation:
    """Read the file of ``write_evaluation``; StudyError if it is damaged or if another version wrote it."""
    what = f"{path}, the stored result of an evaluation on the {SPLIT_NAMES[split]} split,"
    try:
        check_archive(path)
        with np.load(path) as stored:
            if missing := [field.name for field in fields(Evaluation) if field.name not in stored]:
                raise StudyError(
                    f"{what} lacks {', '.join(missing)}: another version of this program wrote it; remove it to "
                    "evaluate again"
                )
            names = tuple(bytes(name).decode(errors="surrogateescape") for name in stored["names"])
            model, evaluations, arithmetic = str(stored["model"]), int(stored["evaluations"]), str(stored["arithmetic"])
            return Evaluation(stored["logits"], stored["labels"], names, model, evaluations, arithmetic)
    except UNREADABLE as error:
        raise StudyError(f"{what} is damaged; restore it from a backup, or remove it to evaluate again") from error


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write ``evaluation``, which replaces an earlier file only when it is complete."""
    # As bytes, because a file name need not be valid Unicode.
    names = np.array([name.encode(errors="surrogateescape") for name in evaluation.names], dtype=np.bytes_)
    with atomic_replace(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            logits=evaluation.logits,
            labels=evaluation.labels,
            names=names,
            model=np.array(evaluation.model),
            evaluations=np.array(evaluation.evaluations),
            arithmetic=np.array(evaluation.arithmetic),
        )
