"""What the user of inat.finalize reads."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table

from inat.constants import FAILED, METRICS_JSON, MODEL_CKPT
from inat.finalize.candidates import Candidate
from inat.finalize.retrain import RunSource
from inat.finalize.task import Task
from inat.study.study import Study


def describe_task(task: Task, runs: Study) -> str:
    """Where the study is, what is retrained, and on which images."""
    study, command, splits = task.study, task.command, task.splits_of(task.trials[0])
    left = RunSource(runs, task.wanted).waiting
    before = f", {len(task.wanted) - left} of them already ended" if left < len(task.wanted) else ""
    open_trials = len(study.unfinished())
    unfinished = f"; {open_trials} unfinished ones do not count" if open_trials else ""
    return (
        f"study   {study.directory}: {len(study.ended())} ended trials{unfinished}\n"
        f"top     {command.top} configurations x {command.seeds} seeds{before}, up to {task.config.max_epochs} epochs\n"
        f"data    {task.config.data}: {len(splits.classes)} classes\n"
        f"images  {len(splits.train)} train, {len(splits.val)} validation, {len(splits.test)} held-out test"
    )


def candidate_table(candidates: Sequence[Candidate]) -> Table:
    """One row a candidate, the winner first."""
    numbers = (Column(name, justify="right") for name in ("search", "mean", "sd", "n"))
    table = Table("candidate", *numbers, box=None, padding=(0, 1))
    for candidate in candidates:
        trial = candidate.trial
        sd = "-" if candidate.sd is None else f"{candidate.sd:.4f}"
        mean = f"{candidate.mean:.4f}" if candidate.runs else "-"
        row = f"{trial.trial_id} {trial.name}", f"{trial.best_val_acc:.4f}", mean, sd, str(len(candidate.runs))
        table.add_row(*row)
    return table


def describe_choice(metrics: dict[str, Any]) -> str:
    """Who won, by how much, and which of its models is taken."""
    winner, model = metrics["winner"], metrics["model"]
    words = "\n        ".join(winner["in_words"])
    return (
        f"\nwinner  {winner['trial_id']} {winner['name']}\n        {words}\n"
        f"model   seed {model['seed']}, the median of {winner['n']}: {model['best_val_acc']:.4f} validation accuracy "
        f"at epoch {model['best_epoch']}"
    )


def describe_test(test: dict[str, Any]) -> str:
    """The score, with its uncertainty."""
    ends, others = test["accuracy_interval"], test["evaluations"] - 1
    interval = f" (95 % interval {ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
    models = "was another model" if others == 1 else f"were {others} other models"
    before = f", as {models} of this study" if others else ""
    return (
        f"test    {test['accuracy']:.4f}{interval} on {test['images']} held-out images, evaluated once{before}\n"
        f"        top-2 {test['top2_accuracy']:.4f}, macro F1 {test['macro_f1']:.4f}, expected calibration error "
        f"{test['ece']:.4f}"
    )


def describe_exports(exports: dict[str, Any]) -> str:
    """That the other formats do what the checkpoint does."""
    largest = max(exports["largest_difference"].values())
    return (
        f"export  {', '.join(exports['files'])}: as the checkpoint on {exports['compared_images']} test images, within "
        f"{largest:.1e} ({exports['tolerance']:g} allowed)"
    )


def describe_shipping(epochs: int) -> str:
    """What is trained for use."""
    return (
        f"\nship    {epochs} epochs on training and validation photos together; the accuracy that its line tells is of "
        "photos it was trained on"
    )


def describe_removal(names: Sequence[str], another: bool) -> str:
    """Which files of a model to ship are gone, and why: ``another`` model won, or theirs cannot be told any more."""
    why = (
        "they go with the model that was chosen before, and another one is chosen now"
        if another
        else f"{METRICS_JSON} and {MODEL_CKPT} do not tell which model they go with"
    )
    return f"removed {', '.join(names)}: {why}; --ship makes them anew"


def failures(runs: Study) -> str:
    """Why there is no winner."""
    failed = [trial for trial in runs.ended() if trial.state == FAILED]
    why = f", the last with: {failed[-1].error}" if failed else ""
    return (
        f"no configuration was trained with every seed: {len(failed)} trainings in {runs.directory} failed{why}; run "
        "the same command again to try those anew"
    )


def interruption(runs: Study | None = None) -> str:
    """What to tell a user who pressed Ctrl-C."""
    count = len(runs.ended()) if runs is not None else 0
    ended = f"{count} {'training has' if count == 1 else 'trainings have'} ended, " if runs is not None else ""
    command = shlex.join(["python", "-m", "inat.finalize", *sys.argv[1:]])
    return f"interrupted: {ended}everything is kept\ncontinue with: {command}"
