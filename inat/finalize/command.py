"""From the command's options to the files in final/, and what the user reads meanwhile."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from inat.cli import INTERRUPTED
from inat.constants import (
    BEST_CKPT,
    CONFUSION_PNG,
    DIVERGED,
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
from inat.finalize.artifacts import write_confusion, write_reliability, write_tables
from inat.finalize.candidates import Candidate, best_epoch, candidates_of, find_run, median_run, ranked, run_params
from inat.finalize.export import ONNX, PT2, export
from inat.finalize.messages import (
    candidate_table,
    describe_choice,
    describe_exports,
    describe_removal,
    describe_shipping,
    describe_task,
    describe_test,
    failures,
    interruption,
)
from inat.finalize.metrics import scores_of
from inat.finalize.metrics_json import as_text, choice_of, evaluations_in_words, known_metrics, shipped_section
from inat.finalize.model_card import model_card
from inat.finalize.options import FinalizeCommand
from inat.finalize.retrain import open_runs, retrain
from inat.finalize.task import Task, plan
from inat.finalize.test_evaluation import Evaluation, sha256_of, test_once
from inat.study.atomic_io import atomic_replace, atomic_write
from inat.study.study import Study
from inat.training.checkpoint import complete_checkpoint
from inat.tuning.command import write_report
from inat.tuning.worker.trainable import SEED


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
        with console.status("writing the report"):
            told = write_report(study.directory)
        console.print(f"\n{told}")
        console.print(f"written {directory}: {', '.join(sorted(p.name for p in directory.iterdir() if p.is_file()))}")
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
        task.config, runs, wanted, print_line=console.print, on_forced_exit=lambda: console.print(interruption(runs))
    )
    if not finished:
        console.print(interruption(runs))
        sys.exit(INTERRUPTED)


def write_model(
    task: Task, candidates: Sequence[Candidate], runs: Study, directory: Path, console: Console
) -> dict[str, Any]:
    """The winner's model with its one test, tables, pictures and exports; returns the content of metrics.json.

    SearchError if not one candidate has a result with every seed.
    """
    winner = candidates[0]
    if not winner.complete:
        raise SearchError(failures(runs))
    run, data = median_run(winner), task.test_data(winner.trial)
    metrics = choice_of(task, candidates, winner, run)
    console.print(candidate_table(candidates))
    console.print(describe_choice(metrics))
    source, target = runs.checkpoint_dir(run.trial_id) / BEST_CKPT, directory / MODEL_CKPT
    tested = test_once(source, directory, data)
    known = _of_the_same_model(directory, tested.model, console)
    if not known:
        _write_checkpoint(task, source, target)
    metrics["model"] |= {"sha256": sha256_of(target), "trained_sha256": tested.model}
    _write_scores(metrics, tested, directory)
    console.print(describe_test(metrics["test"]))
    metrics["exports"] = _exports(known, target, data)
    metrics["shipped"] = known.get("shipped")
    console.print(describe_exports(metrics["exports"]))
    _write_record(directory, metrics)
    return metrics


def _of_the_same_model(directory: Path, trained: str, console: Console) -> dict[str, Any]:
    """The metrics.json that is there, if it and the files beside it are of the model trained as ``trained``.

    If not, what says something of another model, or ships it, is removed; {} is returned. What this call does not make
    again is told.
    """
    known, checkpoint = known_metrics(directory), directory / MODEL_CKPT
    model = known.get("model", {})
    same = model.get("trained_sha256") == trained
    if same and checkpoint.exists() and sha256_of(checkpoint) == model.get("sha256"):
        return known
    shipped = directory / SHIPPED_CKPT
    lost = [path for path in (shipped, *map(shipped.with_suffix, (ONNX, PT2))) if path.exists()]
    if lost:
        console.print(describe_removal([path.name for path in lost], bool(model) and not same))
    for path in (directory / METRICS_JSON, directory / MODEL_CARD, *lost):
        path.unlink(missing_ok=True)
    return {}


def _write_scores(metrics: dict[str, Any], tested: Evaluation, directory: Path) -> None:
    """Add the scores to ``metrics``; write tables and pictures of them."""
    classes = metrics["data"]["classes"]
    scores = scores_of(tested.logits, tested.labels, classes)
    metrics["test"] = scores.to_json() | {"evaluations": tested.evaluations, "arithmetic": tested.arithmetic}
    metrics["evaluations_in_words"] = evaluations_in_words(metrics)
    write_tables(directory, tested, scores.confusion, classes)
    write_confusion(directory / CONFUSION_PNG, scores.confusion, classes)
    write_reliability(directory / RELIABILITY_PNG, scores)


def _exports(known: dict[str, Any], checkpoint: Path, data: Any) -> dict[str, Any]:
    """Made, unless they are there and were made of the same checkpoint, as ``known`` says."""
    there = all(checkpoint.with_suffix(suffix).exists() for suffix in (ONNX, PT2))
    found: dict[str, Any] | None = known.get("exports")
    return found if there and found else export(checkpoint, data)


def _write_checkpoint(task: Task, source: Path, target: Path) -> None:
    """A checkpoint that needs no other file."""
    weights_dir = task.config.trial_settings().get("weights_dir")
    with atomic_replace(target) as partial:
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
    console.print(describe_shipping(params["stop_epoch"]))
    with _Runs(directory / SHIPPING_DIR, task) as runs:
        _train(task, runs, [params], console)
        run = find_run(runs, params)
        if run is None or run.finished == DIVERGED:
            reason = failures(runs) if run is None else f"the training diverged at epoch {run.epochs}"
            raise SearchError(f"there is no model to ship: {reason}; {MODEL_CKPT} and its scores are written")
        source = runs.checkpoint_dir(run.trial_id) / BEST_CKPT
        trained, target, known = sha256_of(source), directory / SHIPPED_CKPT, metrics.get("shipped") or {}
        if known.get("trained_sha256") != trained or not target.exists():
            known = {}
            _write_checkpoint(task, source, target)
        exports = _exports(known, target, task.test_data(winner.trial))
    section = shipped_section(metrics, run, exports) | {"sha256": sha256_of(target), "trained_sha256": trained}
    console.print(f"shipped {target.name}: {section['in_words']}")
    return section
