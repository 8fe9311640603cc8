"""A model's one evaluation on the test split: its logits are kept, and every number and picture is made from them."""

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
from inat.study.atomic_io import as_disk_full_error, atomic_replace
from inat.training.evaluation import split_logits

UNUSABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one model says of the test split: ``logits`` (N, classes) float32, ``labels`` (N,), file ``names``.

    ``model`` is the SHA-256 of its checkpoint; ``evaluations`` counts the models of this study that have been tested
    so far, this one included; ``arithmetic`` is the precision it was evaluated in.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    model: str
    evaluations: int
    arithmetic: str


def sha256_of(path: Path) -> str:
    """SHA-256 of a checkpoint; StudyError if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        trainings = next((folder for folder in path.parents if folder.parent.name == FINAL_DIR), path.parent)
        raise StudyError(
            f"the checkpoint {path} cannot be read ({error.strerror}); restore it, or remove {trainings} to train again"
        ) from error


def test_once(checkpoint: Path, directory: Path, data_config: DataConfig) -> Evaluation:
    """The model's answers on the test split, evaluated unless ``directory`` has those of the same checkpoint.

    They are written before anybody has seen a number, so an interruption at any moment leads to the same score. Another
    model, chosen because other seeds or configurations were added, is another evaluation, which is counted; its answers
    are kept beside the others', as the first model may win again. SearchError, and nothing is kept, where the model's
    answer is no number.
    """
    model, tests = sha256_of(checkpoint), directory / TESTS_DIR
    with as_disk_full_error(directory):
        tests.mkdir(exist_ok=True)
    _move_what_was_kept_before(directory / TEST_LOGITS, tests)
    kept = {path.stem: _read(path) for path in sorted(tests.glob("[!.]*.npz"))}
    # The last model's number may be above the count: once, only the last one's answers were kept.
    count = max([len(kept), *(known.evaluations for known in kept.values())])
    if model in kept:
        tested = replace(kept[model], evaluations=count)
        _refuse_what_is_no_number(tested, checkpoint)
        return tested
    said = split_logits(checkpoint, TEST, data_config)
    tested = Evaluation(
        logits=said.logits.numpy(),
        labels=said.labels.numpy(),
        names=tuple(list_test_images(said.data)),
        model=model,
        evaluations=count + 1,
        arithmetic=said.arithmetic,
    )
    _refuse_what_is_no_number(tested, checkpoint)
    _write(tests / f"{model}.npz", tested)
    return tested


def _move_what_was_kept_before(old: Path, tests: Path) -> None:
    if old.exists():
        os.replace(old, tests / f"{_read(old).model}.npz")


def _refuse_what_is_no_number(tested: Evaluation, checkpoint: Path) -> None:
    wrong = np.flatnonzero(~np.isfinite(tested.logits).all(axis=1))
    if len(wrong):
        raise SearchError(
            f"the model {checkpoint} has no score: computed in {tested.arithmetic}, its output is no finite number for "
            f"{len(wrong)} of {len(tested.names)} test images, the first of them {tested.names[wrong[0]]!r}; add seeds "
            "or configurations with --seeds or --top to have another one chosen, or search again with --precision "
            "32-true"
        )


def ranking_of(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Classes (N, classes) from the most to the least probable; of equal ones the first comes first.

    By the logits: of a sure model, several probabilities are rounded to the same number.
    """
    return (-logits).argsort(axis=1, kind="stable")


def probabilities_of(tested: Evaluation) -> NDArray[np.float32]:
    """Softmax of the logits, (N, classes), with which every table and number is made."""
    probabilities: NDArray[np.float32] = torch.from_numpy(tested.logits).softmax(1).numpy()
    return probabilities


def _read(path: Path) -> Evaluation:
    kept = f"{path}, the kept result of an evaluation on the test split,"
    try:
        with np.load(path) as stored:
            if lacking := [field.name for field in fields(Evaluation) if field.name not in stored]:
                raise StudyError(
                    f"{kept} lacks {', '.join(lacking)}: another version of this program wrote it; remove it to "
                    "evaluate once more"
                )
            names = tuple(bytes(name).decode(errors="surrogateescape") for name in stored["names"])
            model, evaluations, arithmetic = str(stored["model"]), int(stored["evaluations"]), str(stored["arithmetic"])
            return Evaluation(stored["logits"], stored["labels"], names, model, evaluations, arithmetic)
    except UNUSABLE as error:
        raise StudyError(f"{kept} is damaged; restore it from a copy, or remove it to evaluate once more") from error


def _write(path: Path, tested: Evaluation) -> None:
    # As bytes: names of files need not be Unicode.
    names = np.array([name.encode(errors="surrogateescape") for name in tested.names])
    with atomic_replace(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            logits=tested.logits,
            labels=tested.labels,
            names=names,
            model=np.array(tested.model),
            evaluations=np.array(tested.evaluations),
            arithmetic=np.array(tested.arithmetic),
        )
