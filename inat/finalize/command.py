"""From the command's options to the files in final/, and what the user reads meanwhile."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from inat.checkpoint import complete_checkpoint
from inat.cli import INTERRUPTED
from inat.constants import (
    BEST_CKPT,
    CONFUSION_PNG,
    DIVERGED,
    FAILED,
    FINAL_DIR,
    METRICS_JSON,
    MODEL_CARD,
    MODEL_CKPT,
    RELIABILITY_PNG,
    RETRAINING_DIR,
    SHIPPED_CKPT,
    SHIPPING_DIR,
)
from inat.errors import SearchError, StudyError
from inat.files import atomic_write, replacing
from inat.finalize.candidates import Candidate, best_epoch, candidates_of, find_run, median_run, ranked, run_params
from inat.finalize.card import model_card
from inat.finalize.export import ONNX, PT2, export
from inat.finalize.figures import write_confusion, write_reliability
from inat.finalize.metrics import scores_of
from inat.finalize.options import FinalizeCommand
from inat.finalize.record import as_text, choice_of, evaluations_in_words, known_metrics, shipped_section
from inat.finalize.retrain import RunSource, open_runs, retrain
from inat.finalize.tables import write_tables
from inat.finalize.task import Task, plan
from inat.finalize.testing import sha256_of, test_once
from inat.results import Study
from inat.tuning.trainable import SEED


def finalize(command: FinalizeCommand) -> None:
    """Retrain, choose, test once, write; exits with 130 after an interruption, with everything kept.

    Whatever has been done is not done again by the next call. An InatError says what is wrong in one sentence.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False)
    study = Study.open(command.study.expanduser())
    try:
        task = plan(command, study)
        directory = _made(study.directory / FINAL_DIR)
        with _Runs(directory / RETRAINING_DIR, task) as runs:
            console.print(describe_task(task, runs))
            _train(task, runs, task.wanted, console)
            candidates = ranked(candidates_of(runs, task.trials, command.seeds))
            metrics = write_model(task, candidates, runs, directory, console)
        if command.ship:
            metrics["shipped"] = ship(task, metrics, candidates[0], directory, console)
        _write_record(directory, metrics)
        console.print(f"\nwritten {directory}: {', '.join(sorted(p.name for p in directory.iterdir() if p.is_file()))}")
    except KeyboardInterrupt:
        console.print(interruption())
        sys.exit(INTERRUPTED)
    finally:
        study.close()


class _Runs:
    """A study of trainings for the length of a block."""

    def __init__(self, directory: Path, task: Task) -> None:
        self._runs = open_runs(directory, task.info)

    def __enter__(self) -> Study:
        return self._runs

    def __exit__(self, *_: object) -> None:
        self._runs.close()


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StudyError(f"cannot create {directory} ({error.strerror}); remove the cause and try again") from error
    return directory


def _train(task: Task, runs: Study, wanted: Sequence[dict[str, Any]], console: Console) -> None:
    finished = retrain(
        task.config, runs, wanted, announce=console.print, give_up=lambda: console.print(interruption(runs))
    )
    if not finished:
        raise KeyboardInterrupt


def write_model(
    task: Task, candidates: Sequence[Candidate], runs: Study, directory: Path, console: Console
) -> dict[str, Any]:
    """The winner's model with its one test, tables, pictures and exports; returns the content of metrics.json.

    SearchError if not one candidate has a result with every seed.
    """
    winner = candidates[0]
    if not winner.complete:
        raise SearchError(failures(runs))
    run = median_run(winner)
    known = known_metrics(directory)
    metrics = choice_of(task, candidates, winner, run)
    console.print(candidate_table(candidates))
    console.print(describe_choice(metrics))
    data = task.test_data(winner.trial)
    metrics["model"]["sha256"] = sha256_of(source := runs.checkpoint_dir(run.trial_id) / BEST_CKPT)
    _write_checkpoint(task, source, directory / MODEL_CKPT)
    tested = test_once(source, directory, data)
    scores = scores_of(tested.logits, tested.labels, metrics["data"]["classes"])
    metrics["test"] = scores.to_json() | {"evaluations": tested.evaluations}
    metrics["evaluations_in_words"] = evaluations_in_words(metrics)
    write_tables(directory, tested, scores.confusion, metrics["data"]["classes"])
    write_confusion(directory / CONFUSION_PNG, scores.confusion, metrics["data"]["classes"])
    write_reliability(directory / RELIABILITY_PNG, scores)
    console.print(describe_test(metrics["test"]))
    same = known.get("model", {}).get("sha256") == tested.model
    metrics["exports"] = _exports(known if same else {}, directory / MODEL_CKPT, data)
    metrics["shipped"] = known.get("shipped") if same else None
    console.print(describe_exports(metrics["exports"]))
    _write_record(directory, metrics)
    return metrics


def _exports(known: dict[str, Any], checkpoint: Path, data: Any) -> dict[str, Any]:
    """Made, unless they are there and were made of the same checkpoint, as ``known`` says."""
    there = all(checkpoint.with_suffix(suffix).exists() for suffix in (ONNX, PT2))
    found: dict[str, Any] | None = known.get("exports")
    return found if there and found else export(checkpoint, data)


def _write_checkpoint(task: Task, source: Path, target: Path) -> None:
    """A checkpoint that needs no other file."""
    weights_dir = task.config.trial_settings().get("weights_dir")
    with replacing(target) as partial:
        complete_checkpoint(source, partial, weights_dir)


def _write_record(directory: Path, metrics: dict[str, Any]) -> None:
    atomic_write(directory / METRICS_JSON, as_text(metrics))
    atomic_write(directory / MODEL_CARD, model_card(metrics))


def ship(task: Task, metrics: dict[str, Any], winner: Candidate, directory: Path, console: Console) -> dict[str, Any]:
    """Train the winner on training and validation photos together, for as many epochs as its model needed.

    Returns the section of metrics.json. SearchError if the training failed or diverged.
    """
    chosen = median_run(winner)
    params = run_params(winner.trial, chosen.params[SEED]) | {"train_on_val": True, "stop_epoch": best_epoch(chosen)}
    console.print(f"\nship    {params['stop_epoch']} epochs on training and validation photos together")
    with _Runs(directory / SHIPPING_DIR, task) as runs:
        _train(task, runs, [params], console)
        run = find_run(runs, params)
        if run is None or run.finished == DIVERGED:
            reason = failures(runs) if run is None else f"the training diverged at epoch {run.epochs}"
            raise SearchError(f"there is no model to ship: {reason}; {MODEL_CKPT} and its scores are written")
        source = runs.checkpoint_dir(run.trial_id) / BEST_CKPT
        sha256 = sha256_of(source)
        target, known = directory / SHIPPED_CKPT, metrics.get("shipped") or {}
        _write_checkpoint(task, source, target)
        exports = _exports(known if known.get("sha256") == sha256 else {}, target, task.test_data(winner.trial))
    section = shipped_section(metrics, run, exports, sha256)
    console.print(f"shipped {target.name}: {section['in_words']}")
    return section


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
    low, high = test["accuracy_interval"]
    return (
        f"test    {test['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f}) on {test['images']} held-out images, "
        f"evaluated once\n        top-2 {test['top2_accuracy']:.4f}, macro F1 {test['macro_f1']:.4f}, expected "
        f"calibration error {test['ece']:.4f}"
    )


def describe_exports(exports: dict[str, Any]) -> str:
    """That the other formats do what the checkpoint does."""
    largest = max(exports["largest_difference"].values())
    return (
        f"export  {', '.join(exports['files'])}: as the checkpoint on {exports['compared_images']} test images, within "
        f"{largest:.1e} ({exports['tolerance']:g} allowed)"
    )


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
    ended = f"{len(runs.ended())} trainings have ended, " if runs is not None else ""
    command = shlex.join(["python", "-m", "inat.finalize", *sys.argv[1:]])
    return f"interrupted: {ended}everything is kept\ncontinue with: {command}"
