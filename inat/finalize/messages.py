"""Lines that inat.finalize prints for the user."""

import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from analysis.run_card import program
from analysis.test_scores import accuracy_interval, describe_calibration
from inat.caller import is_python
from inat.constants import BEST_CKPT, CONSTANT_ACC, FAILED, METRICS_JSON, MODEL_CKPT, SHIPPED_CKPT, TIME_PLAN
from inat.finalize.candidates import Candidate, find_run, run_params
from inat.finalize.last_params import describe_last_params
from inat.finalize.latency import describe_latency
from inat.finalize.retrain import RunSource
from inat.finalize.task import Task
from inat.next_step import next_command
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.stoppers import INTERRUPTION


def describe_task(task: Task, runs: Study) -> str:
    """The study, the runs to train and the images, before training starts."""
    study, command, splits = task.study, task.command, task.splits_of(task.trials[0])
    total = len(task.wanted)
    ended = total - RunSource(runs, task.wanted).remaining
    progress = f" ({ended} of {total} runs already ended)" if ended else ""
    unfinished = len(study.unfinished())
    ignored = f"; {_count(unfinished, 'unfinished trial')} ignored" if unfinished else ""
    equal = any(trial.epoch_cost != 1 for trial in task.trials)
    why = " of the recipe or as many as cost the same" if equal else ""
    why += ", as in the last training" if TIME_PLAN in study.info else ""
    other = "".join(
        f"\n        {text}" for text in (describe_last_params(study, task.trials), _not_used(task, runs)) if text
    )
    return (
        f"study   {study.directory}: {_count(len(study.ended()), 'ended trial')}{ignored}\n"
        f"top     {_count(len(task.trials), 'configuration')} x {_count(command.seeds, 'seed')}{progress}, up to "
        f"{_count(task.config.max_epochs, 'epoch')}{why}{other}\n"
        f"data    {task.config.data}: {len(splits.classes)} classes\n"
        f"images  {len(splits.train)} train, {len(splits.val)} validation, {len(splits.test)} held-out test"
    )


def _not_used(task: Task, runs: Study) -> str:
    """How many runs of an earlier call had the hyperparameters of the search instead; "" without any."""
    changed = [trial for trial in task.trials if trial.params != task.study.trials[trial.trial_id].params]
    found = [
        find_run(runs, run_params(task.study.trials[trial.trial_id], seed))
        for trial in changed
        for seed in range(1, task.command.seeds + 1)
    ]
    count = sum(run is not None for run in found)
    if not count:
        return ""
    return f"{_count(count, 'earlier run')} with those of the search {'is' if count == 1 else 'are'} not used"


def candidate_table(candidates: Sequence[Candidate]) -> Table:
    """One row per candidate, the winner first; "search" is the score in the search, "n" the number of runs."""
    numbers = (Column(name, justify="right") for name in ("search", "mean", "sd", "n"))
    table = Table(Column("candidate", overflow="fold"), *numbers, box=None, padding=(0, 1))
    for candidate in candidates:
        trial = candidate.trial
        sd = "-" if candidate.sd is None else f"{candidate.sd:.4f}"
        mean = f"{candidate.mean:.4f}" if candidate.runs else "-"
        row = f"{trial.trial_id} {trial.name}", f"{trial.best_value:.4f}", mean, sd, str(len(candidate.runs))
        table.add_row(*row)
    return table


def describe_choice(metrics: dict[str, Any]) -> str:
    """Which configuration won, by how much, and which of its runs becomes the model."""
    winner, model = metrics["winner"], metrics["model"]
    words = "\n        ".join(winner["in_words"])
    objective = metrics["objective"]
    lower = "lower" if objective["mode"] == "max" else "higher"
    middle = f"the {lower} of the middle two"
    which = "the median" if winner["n"] % 2 else f"the {lower}" if winner["n"] == 2 else middle
    return (
        f"\nwinner  {winner['trial_id']} {winner['name']}\n        {words}\n"
        f"model   seed {model['seed']}, {which} of {_count(winner['n'], 'run')}: "
        f"{model[objective['best_column']]:.4f} {objective['label']} at epoch {model['best_epoch']}"
    )


def describe_test(test: dict[str, Any]) -> str:
    """The test score with its interval."""
    ends, others = accuracy_interval(test), test["evaluations"] - 1
    interval = f" (95 % interval {ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
    was = "was" if others == 1 else "were"
    before = f"; {_count(others, 'other model')} of this study {was} evaluated too" if others else ""
    constant = f"a constant answer scores {test[CONSTANT_ACC]:.4f}; " if test.get(CONSTANT_ACC) is not None else ""
    return (
        f"test    {test['accuracy']:.4f}{interval} on {test['images']} held-out images, evaluated once{before}\n"
        f"        {constant}balanced accuracy {test['balanced_accuracy']:.4f}, top-2 {test['top2_accuracy']:.4f}, "
        f"macro F1 {test['macro_f1']:.4f}\n        {describe_calibration(test)}"
    )


def describe_exports(exports: dict[str, Any]) -> str:
    """How far the exported files differ from the checkpoint, and the time for one image."""
    largest, latency = max(exports["largest_difference"].values()), exports.get("latency")
    took = f"\n        {describe_latency(latency)}" if latency else ""  # exports of earlier versions have none
    return (
        f"export  {', '.join(exports['files'])}: probabilities as from the checkpoint on {exports['compared_images']} "
        f"test images; largest difference {largest:.1e} ({exports['tolerance']:g} allowed){took}"
    )


def describe_ensemble(section: dict[str, Any]) -> str:
    """The ensemble beside the model, in sentences: scores, cost, and what they are worth."""
    return "\n        ".join(["\nensemble", *section["in_words"]])


def describe_left_out(run: Trial, reason: str) -> str:
    """Why a run cannot be a member of the ensemble."""
    return f"run {run.trial_id} is left out of the ensemble: {reason}"


def describe_no_ensemble(reason: str) -> str:
    """Why there is no ensemble; the model does not depend on it."""
    return f"\nensemble\n        none: {reason}"


def describe_removed_ensemble() -> str:
    """That the ensemble of an earlier call is gone."""
    return (
        "removed the ensemble: it was chosen beside another model; run the command without --no-ensemble to choose a "
        "new one"
    )


def describe_shipping(epochs: int) -> str:
    """What the training of the shipped model uses."""
    return (
        f"\nship    {_count(epochs, 'epoch')} on training and validation photos together; the validation "
        "scores of this training, printed while it runs, measure nothing, since it learns from these photos"
    )


def describe_removal(names: Sequence[str], replaced: bool, ship: bool) -> str:
    """Which shipped files were removed: their model was ``replaced``, or cannot be identified any more.

    With ``ship``, this call trains a new one.
    """
    why = (
        "they belong to the model that was chosen before, and now another model is chosen"
        if replaced
        else f"{METRICS_JSON} and {MODEL_CKPT} do not show which model they belong to"
    )
    return f"removed {', '.join(names)}: {why}; {'a new one follows' if ship else 'pass --ship to train a new one'}"


def describe_failures(runs: Study) -> str:
    """Why no candidate can win."""
    failed = [trial for trial in runs.ended() if trial.state == FAILED]
    why = f", the last with: {failed[-1].error}" if failed else ""
    return (
        f"no configuration was trained with every seed: {_count(len(failed), 'run')} in {runs.directory} failed{why}; "
        "run the same command again to retry"
    )


def describe_interruption(runs: Study | None = None, cause: str = INTERRUPTION) -> str:
    """What an early end for ``cause`` kept, and the command that continues."""
    count = len(runs.ended()) if runs is not None else 0
    has = "has" if count == 1 else "have"
    ended = f"{_count(count, 'run')} {has} ended; " if runs is not None else ""
    typed = shlex.join(["python", "-m", "inat.finalize", *sys.argv[1:]])
    command = "the same call of inat.finalize()" if is_python() else typed
    return f"{cause}: {ended}everything is kept\ncontinue with: {command}"


def describe_files(directory: Path, kept: Collection[str]) -> str:
    """The files in ``directory``; those named in ``kept`` are of an earlier call."""
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    written = f"written {directory}: {', '.join(name for name in names if name not in kept)}"
    earlier = [name for name in names if name in kept]
    return written + (f"\nkept    {', '.join(earlier)}: of an earlier call, and of the same model" if earlier else "")


def describe_which(metrics: Mapping[str, Any], directory: Path) -> str:
    """Which model to use after a search whose last training learnt from the validation images, too; else ""."""
    search = metrics["search"]
    if not search.get("refit"):
        return ""
    test = search["test"]
    measured = f"test accuracy {test['test_acc']:.4f}" if test else "not measured"
    shipped = (
        f"{directory / SHIPPED_CKPT} (trained on all labelled photos but the test photos, not measured) or "
        if metrics.get("shipped")
        else ""
    )
    return (
        f"use     for new photos {shipped}{directory.parent / BEST_CKPT} (the last training of the search, on "
        f"{'the same' if shipped else 'training and validation'} photos, {measured}); {MODEL_CKPT} (test accuracy "
        f"{metrics['test']['accuracy']:.4f}) has not learnt from the validation photos"
    )


def describe_next(directory: Path, data: str, shipped: bool) -> str:
    """The command that classifies photos with the model in ``directory``, and the one that trains it on all photos.

    Its photos are those of the study's folder ``data``, or FOLDER if they are in none.
    """
    photos = data if Path(data).is_dir() else "FOLDER"
    command = (
        "the same call with ship=True" if is_python() else shlex.join([*program().split(), *sys.argv[1:], "--ship"])
    )
    predict = (
        f"inat.load_model({str(directory)!r}).predict({photos!r})"
        if is_python()
        else next_command("predict", directory, photos)
    )
    ship = "" if shipped else f"\nor      {command}  # also trains one model on all labelled photos"
    return f"next    {predict}{ship}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
