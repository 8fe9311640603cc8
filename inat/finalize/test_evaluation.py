"""The one evaluation of a model on the test split. Its logits are stored; every number and figure comes from them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inat.config.trial import DataConfig
from inat.constants import TEST, TEST_LOGITS, TESTS_DIR
from inat.data.splits import list_test_images
from inat.errors import SearchError
from inat.finalize.checkpoints import sha256_of
from inat.finalize.evaluation_file import Evaluation, read_evaluation, write_evaluation
from inat.study.atomic_io import as_disk_full_error
from inat.training.evaluation import split_logits


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
    stored = {path.stem: read_evaluation(path) for path in sorted(tests.glob("[!.]*.npz"))}
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
    write_evaluation(tests / f"{model}.npz", evaluation)
    return evaluation


def _move_file_of_earlier_version(old: Path, tests: Path) -> None:
    if old.exists():
        os.replace(old, tests / f"{read_evaluation(old).model}.npz")


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
