"""The runs that may become members of an ensemble, with their outputs on the validation split."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analysis.terminal import PlainConsole
from inat.config.trial import DataConfig
from inat.constants import BEST_CKPT, CHECKPOINTS_DIR, VAL, VALIDATION_DIR
from inat.errors import StudyError
from inat.finalize.candidates import Candidate
from inat.finalize.checkpoints import sha256_of
from inat.finalize.evaluation_file import Evaluation, read_evaluation, write_evaluation
from inat.finalize.messages import describe_left_out
from inat.finalize.task import Task
from inat.study.atomic_io import as_disk_full_error
from inat.study.study import Study
from inat.study.trial import Trial
from inat.training.evaluation import split_logits

SHA256_NAME = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Scored:
    """A run that may become a member: its trial in the search, its checkpoint and its outputs on the validation split.

    ``data`` is the configuration of its images, whose size may differ between runs.
    """

    trial: Trial
    run: Trial
    checkpoint: Path
    data: DataConfig
    validation: Evaluation

    @property
    def probabilities(self) -> Tensor:
        """Softmax (N, classes) on the validation split."""
        return torch.from_numpy(self.validation.logits).softmax(1)


def score_runs(
    task: Task, candidates: Sequence[Candidate], runs: Study, directory: Path, console: PlainConsole
) -> list[Scored]:
    """The runs whose checkpoints give finite outputs on the validation split; the others are printed with the reason.

    A single run makes no ensemble, so it is not evaluated.
    """
    found = [(c.trial, run, runs.checkpoint_dir(run.trial_id) / BEST_CKPT) for c in candidates for run in c.runs]
    for _, run, checkpoint in found:
        if not checkpoint.exists():
            console.print(describe_left_out(run, f"{checkpoint} does not exist"))
    found = [one for one in found if one[2].exists()]
    if len(found) < 2:
        return []
    folder, scored = directory / VALIDATION_DIR, list[Scored]()
    with as_disk_full_error(directory):
        folder.mkdir(exist_ok=True)
    with console.status(f"evaluating {len(found)} runs on the validation split"):
        for trial, run, checkpoint in found:
            data = task.test_data(trial)
            try:
                validation = _validate_once(checkpoint, folder, data)
                if scored and not np.array_equal(validation.labels, scored[0].validation.labels):
                    raise StudyError(f"its validation images differ from those of other runs; remove {folder}")
            except StudyError as error:
                console.print(describe_left_out(run, str(error)))
            else:
                scored.append(Scored(trial, run, checkpoint, data, validation))
    _remove_others(folder, {one.validation.model for one in scored}, runs)
    return scored


def _remove_others(folder: Path, used: Collection[str], runs: Study) -> None:
    """Remove the outputs of checkpoints that no run has any more; with many images and classes they are large."""
    others = {path.stem: path for path in folder.glob("*.npz") if SHA256_NAME.fullmatch(path.stem)}
    if others.keys() - used:
        known = map(sha256_of, (runs.directory / CHECKPOINTS_DIR).glob(f"*/{BEST_CKPT}"))
        for model in others.keys() - {*used, *known}:
            others[model].unlink()


def _validate_once(checkpoint: Path, folder: Path, data: DataConfig) -> Evaluation:
    """The outputs on the validation split, stored by the hash of the checkpoint; StudyError if they are not finite."""
    model = sha256_of(checkpoint)
    path = folder / f"{model}.npz"
    evaluation = _stored(path)
    if evaluation is None:
        output = split_logits(checkpoint, VAL, data)
        evaluation = Evaluation(output.logits.numpy(), output.labels.numpy(), (), model, 0, output.arithmetic)
        write_evaluation(path, evaluation)
    if not np.isfinite(evaluation.logits).all():
        raise StudyError(f"the output of {checkpoint} is NaN or infinite for some validation images")
    return evaluation


def _stored(path: Path) -> Evaluation | None:
    try:
        return read_evaluation(path, VAL) if path.exists() else None
    except StudyError:
        return None  # evaluating on the validation split again does no harm
