"""The one evaluation of a model on the test split. Its logits are stored; every number and figure comes from them."""

import hashlib
import os
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inat.config.trial import DataConfig
from inat.constants import FINAL_DIR, TEST, TEST_LOGITS, TESTS_DIR
from inat.data.splits import list_test_images
from inat.errors import SearchError, StudyError
from inat.study.archive import check_archive
from inat.study.atomic_io import as_disk_full_error, atomic_replace
from inat.training.evaluation import split_logits

UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Output of one model on the N images of the test split; the field names are also the keys in the stored file.

    ``logits`` is (N, classes) float32, ``labels`` (N,), ``names`` the image files. ``model`` is the SHA-256 of the
    checkpoint. ``evaluations`` counts the models of this study tested so far, including this one. ``arithmetic`` is the
    precision of the evaluation.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    model: str
    evaluations: int
    arithmetic: str


def sha256_of(path: Path) -> str:
    """SHA-256 of a checkpoint; raises StudyError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        runs = next((folder for folder in path.parents if folder.parent.name == FINAL_DIR), path.parent)
        raise StudyError(
            f"the checkpoint {path} cannot be read ({error.strerror}); restore it, or remove {runs} to train again"
        ) from error


def evaluate_best_on_test(checkpoint: Path, directory: Path, data_config: DataConfig) -> Evaluation:
    """Evaluate a checkpoint on the test split, or return the stored evaluation of the same checkpoint.

    The logits are stored in ``directory`` before any number is shown, so an interruption cannot change the score.
    Adding seeds or configurations may choose another model; its evaluation is stored beside the earlier ones and
    counted, because the first model may win again. Raises SearchError, and stores nothing, if a logit is not finite.
    """
    model, tests = sha256_of(checkpoint), directory / TESTS_DIR
    with as_disk_full_error(directory):
        tests.mkdir(exist_ok=True)
    _move_file_of_earlier_version(directory / TEST_LOGITS, tests)
    stored = {path.stem: _read(path) for path in sorted(tests.glob("[!.]*.npz"))}
    # The stored count can exceed the number of files: earlier versions kept only the last model's logits.
    count = max([len(stored), *(known.evaluations for known in stored.values())])
    if model in stored:
        evaluation = replace(stored[model], evaluations=count)
        _check_finite(evaluation, checkpoint)
        return evaluation
    output = split_logits(checkpoint, TEST, data_config)
    evaluation = Evaluation(
        logits=output.logits.numpy(),
        labels=output.labels.numpy(),
        names=tuple(list_test_images(output.data)),
        model=model,
        evaluations=count + 1,
        arithmetic=output.arithmetic,
    )
    _check_finite(evaluation, checkpoint)
    _write(tests / f"{model}.npz", evaluation)
    return evaluation


def _move_file_of_earlier_version(old: Path, tests: Path) -> None:
    if old.exists():
        os.replace(old, tests / f"{_read(old).model}.npz")


def _check_finite(evaluation: Evaluation, checkpoint: Path) -> None:
    wrong = np.flatnonzero(~np.isfinite(evaluation.logits).all(axis=1))
    if len(wrong):
        raise SearchError(
            f"the model {checkpoint} has no score: in precision {evaluation.arithmetic} its output is NaN or infinite "
            f"for {len(wrong)} of {len(evaluation.names)} test images, first for {evaluation.names[wrong[0]]!r}; add "
            "seeds or configurations with --seeds or --top, so that another model is chosen, or search again with "
            "--precision 32-true"
        )


def rank_classes(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Class indices (N, classes) from the highest logit to the lowest; equal logits in order of class.

    Probabilities would not do: a confident model's softmax rounds several of them to the same number.
    """
    return (-logits).argsort(axis=1, kind="stable")


def class_probabilities(evaluation: Evaluation) -> NDArray[np.float32]:
    """Softmax of the logits, (N, classes)."""
    probabilities: NDArray[np.float32] = torch.from_numpy(evaluation.logits).softmax(1).numpy()
    return probabilities


def _read(path: Path) -> Evaluation:
    what = f"{path}, the stored result of an evaluation on the test split,"
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


def _write(path: Path, evaluation: Evaluation) -> None:
    # As bytes, because a file name need not be valid Unicode.
    names = np.array([name.encode(errors="surrogateescape") for name in evaluation.names])
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
