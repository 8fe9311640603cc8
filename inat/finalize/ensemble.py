"""The ensemble: choose some of the runs on the validation split, keep their checkpoints, test their mean once."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from analysis.terminal import PlainConsole
from inat.constants import ENSEMBLE_DIR, MODEL_CKPT, TEST, TESTS_DIR
from inat.data.splits import list_test_images
from inat.errors import DiskFullError, InatError, SearchError
from inat.finalize.candidates import Candidate
from inat.finalize.ensemble_members import cost_of, remove_members, write_members
from inat.finalize.ensemble_pool import Scored, score_runs
from inat.finalize.ensemble_section import in_words, scores_on_test, scores_on_validation
from inat.finalize.evaluation_file import Evaluation, read_evaluation, write_evaluation
from inat.finalize.messages import describe_ensemble, describe_no_ensemble, describe_removed_ensemble
from inat.finalize.selection import Selection, mean_probabilities, select_greedily
from inat.finalize.task import Task
from inat.study.atomic_io import as_disk_full_error
from inat.study.study import Study
from inat.training.evaluation import split_logits

TINY = torch.finfo(torch.float32).tiny  # a probability of 0 has no logarithm
COSTS = ("forward_passes", "parameters")


def update_ensemble(
    task: Task,
    candidates: Sequence[Candidate],
    runs: Study,
    directory: Path,
    metrics: dict[str, Any],
    console: PlainConsole,
) -> dict[str, Any] | None:
    """The result of ``make_ensemble``; None, no members and a printed sentence if it cannot be made.

    The model and what comes after the ensemble do not depend on it. With --no-ensemble, the section that ``metrics``
    has stays, and members without a section are removed. Raises DiskFullError.
    """
    if not task.command.ensemble:
        if not metrics["ensemble"] and remove_members(directory / ENSEMBLE_DIR):
            console.print(describe_removed_ensemble())
        return metrics["ensemble"] or None
    try:
        return make_ensemble(task, candidates, runs, directory, metrics, console)
    except DiskFullError:
        raise
    except InatError as error:
        remove_members(directory / ENSEMBLE_DIR)
        console.print(describe_no_ensemble(str(error)))
        return None


def make_ensemble(
    task: Task,
    candidates: Sequence[Candidate],
    runs: Study,
    directory: Path,
    metrics: dict[str, Any],
    console: PlainConsole,
) -> dict[str, Any] | None:
    """Choose, keep and test an ensemble of the runs; return the "ensemble" section of metrics.json.

    None if there are fewer than two runs to choose from. A section without a test if no other run improves the best
    one. What an earlier call has evaluated or written is used again.
    """
    scored, folder = score_runs(task, candidates, runs, directory, console), directory / ENSEMBLE_DIR
    if len(scored) < 2:
        remove_members(folder)
        return None
    pool, labels = [one.probabilities for one in scored], torch.from_numpy(scored[0].validation.labels)
    objective = task.study.objective
    selection = select_greedily(pool, labels, objective)
    mean = mean_probabilities([pool[i] for i in selection.weights], list(selection.weights.values()))
    compared = {"ensemble": mean, "best_run": pool[selection.picks[0]]}
    for one in scored:
        if one.run.trial_id == metrics["model"]["run"]:
            compared["model"] = one.probabilities
    section = {
        "pool": len(scored), "members": [], "test": None,
        "validation": scores_on_validation(compared, labels, objective),
    }  # fmt: skip
    if len(selection.counts) == 1:
        remove_members(folder)
    else:
        model = read_evaluation(directory / TESTS_DIR / f"{metrics['model']['trained_sha256']}.npz")
        # Before the members are listed: inat.predict shall not use an ensemble without a score.
        test = scores_on_test(_test_once(scored, selection, directory), model)
        members = write_members(task, scored, selection, folder)
        section |= {
            "members": members,
            "cost": {name: sum(member[name] for member in members) for name in COSTS},
            "model_cost": cost_of(directory / MODEL_CKPT),
            "test": test,
        }
    section["in_words"] = in_words(section, objective)
    console.print(describe_ensemble(section))
    return section


def _test_once(scored: Sequence[Scored], selection: Selection, directory: Path) -> Evaluation:
    """The ensemble's outputs on the test split, as logarithms of probabilities; stored, so no call repeats the test.

    The folder also has those of other ensembles that were chosen before seeds or configurations were added.
    """
    folder = directory / TESTS_DIR / ENSEMBLE_DIR
    with as_disk_full_error(directory):
        folder.mkdir(exist_ok=True)
    members = sorted((scored[index].validation.model, count) for index, count in selection.counts.items())
    name = hashlib.sha256(json.dumps(members).encode()).hexdigest()
    path, stored = folder / f"{name}.npz", len(list(folder.glob("[!.]*.npz")))
    if path.exists():
        return replace(read_evaluation(path), evaluations=stored)
    outputs = [split_logits(one.checkpoint, TEST, one.data) for one in (scored[index] for index in selection.weights)]
    mean = mean_probabilities([output.logits.softmax(1) for output in outputs], list(selection.weights.values()))
    if not torch.isfinite(mean).all():
        raise SearchError(
            "the ensemble has no score: the output of a member is NaN or infinite for some test images; pass "
            "--no-ensemble, or search again with --precision 32-true"
        )
    evaluation = Evaluation(
        logits=mean.clamp(min=TINY).log().numpy(),
        labels=outputs[0].labels.numpy(),
        names=tuple(list_test_images(outputs[0].data)),
        model=name,
        evaluations=stored + 1,
        arithmetic=", ".join(dict.fromkeys(output.arithmetic for output in outputs)),
    )
    write_evaluation(path, evaluation)
    return evaluation
